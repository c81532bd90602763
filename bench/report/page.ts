import { type Child, element, escapeText, type Markup } from './markup.ts';

export interface Section {
  readonly title: string;
  readonly content: Child;
  /** A sentence below it. */
  readonly note?: string;
}

const STYLE = `
:root { color-scheme: light dark; --paper: #fff; --ink: #1c2330; --quiet: #667085; --line: #e3e7ee; --c0: #3b6fd4;
  --c1: #e08a2e; --c2: #2f9e77; --c3: #9b5fc0; --c4: #c9506a; --c5: #6b7a90; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181f; --ink: #e6e9ef; --quiet: #98a2b3; --line: #2b323d;
  --c0: #6d9bf1; --c1: #f0a95a; --c2: #55c79d; --c3: #bb8ade; --c4: #e57f95; --c5: #93a1b5; } }
body { margin: 2.5rem auto; max-width: 52rem; padding: 0 1rem; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 2.25rem 0 .5rem; }
p { margin: .4rem 0; color: var(--quiet); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .9rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--quiet); font-weight: 500; }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif; }
svg text { fill: var(--ink); } svg .tick, svg .axis, svg .note { fill: var(--quiet); }
.grid { stroke: var(--line); } .roof { fill: none; stroke: var(--quiet); stroke-width: 1.5; }
.whisker line { stroke: var(--ink); stroke-width: 1.4; } .fill { fill: var(--c0); fill-opacity: .85; }
.s1 { fill: var(--c1); } .s2 { fill: var(--c2); } .s3 { fill: var(--c3); } .s4 { fill: var(--c4); }
svg.heat { width: auto; max-width: 100%; } .winner { stroke: var(--c1); stroke-width: 2.5; }
.s5 { fill: var(--c5); } tspan.note { fill: var(--quiet); }
`;

/** A page that stands alone: no script, nothing from the network, for light and dark screens. */
export function page(title: string, subtitle: string, sections: readonly Section[]): string {
  const body = element('body', {}, [
    element('h1', {}, title),
    element('p', {}, subtitle),
    ...sections.map(({ title: heading, content, note }) =>
      element('section', {}, element('h2', {}, heading), content, note === undefined ? '' : element('p', {}, note)),
    ),
  ]);
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"/><meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>${escapeText(title)}</title><style>${STYLE}</style></head>
${body.text}
</html>
`;
}

/** Rows under headings; the first column is text, the others are figures. */
export function htmlTable(headings: readonly string[], rows: readonly (readonly string[])[]): Markup {
  const cells = (name: string, texts: readonly string[]) =>
    element(
      'tr',
      {},
      texts.map((text) => element(name, {}, text === '' ? '\u00a0' : text)),
    );
  const head = element('thead', {}, cells('th', headings));
  const body = element(
    'tbody',
    {},
    rows.map((row) => cells('td', row)),
  );
  return element('div', { class: 'scroll' }, element('table', {}, head, body));
}
