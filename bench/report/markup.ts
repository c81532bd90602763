/** HTML or SVG that is safe to put into a page. Only `element` makes it, and that escapes what is not Markup. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Child = Markup | string | number | undefined | readonly Child[];
type Attributes = Readonly<Record<string, string | number | undefined>>;

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Text for a page: nothing in it is read as markup, and control characters, which XML forbids, are left out. */
export const escapeText = (text: string): string =>
  text.replace(/[\p{Cc}\p{Cs}]/gu, (c) => (c === '\n' ? c : '')).replace(/[&<>"]/g, (c) => ENTITIES[c]!);

/** `<name …>children</name>`. Coordinates are rounded to a hundredth of a pixel; attributes that are undefined left out. */
export function element(name: string, attributes: Attributes, ...children: readonly Child[]): Markup {
  const written = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? round(value) : escapeText(String(value))}"`);
  const inside = children.map(textOf).join('');
  return new Markup(`<${name}${written.join('')}${inside === '' ? '/>' : `>${inside}</${name}>`}`);
}

function textOf(child: Child): string {
  if (child instanceof Markup) return child.text;
  if (typeof child === 'object') return child.map(textOf).join('');
  return child === undefined ? '' : escapeText(String(child));
}

const round = (value: number): number => Math.round(value * 100) / 100;
