import Table from 'cli-table3';
import pc from 'picocolors';
import type { Io } from './io.ts';

/** Bytes for people, in binary units. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const unit = Math.min(Math.floor(Math.log2(Math.max(count, 1)) / 10), units.length - 1);
  return `${(count / 1024 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}

/** Three or four digits that mean something. */
export const number = (value: number): string => (Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(3));

export const percent = (fraction: number): string => `${(100 * fraction).toFixed(0)}%`;

/** Colours where they are wanted: on a terminal, and not with NO_COLOR. */
export const colours = (stream: Io['stdout'] | Io['stderr']) =>
  pc.createColors(Boolean(stream.isTTY) && pc.isColorSupported);

/** What a file says, made safe to print: no control characters, not even those that begin an escape sequence. */
export const printable = (text: string): string =>
  text.replace(/\p{Cc}/gu, (character) => `\\u${character.codePointAt(0)!.toString(16).padStart(4, '0')}`);

/** Rows as text in columns, under headings. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const none = Object.fromEntries(
    [
      'top',
      'top-mid',
      'top-left',
      'top-right',
      'bottom',
      'bottom-mid',
      'bottom-left',
      'bottom-right',
      'left',
      'left-mid',
    ]
      .concat(['mid', 'mid-mid', 'right', 'right-mid'])
      .map((name) => [name, '']),
  );
  const text = new Table({
    head: [...headings],
    chars: { ...none, middle: '  ' },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  });
  text.push(...rows.map((row) => [...row]));
  return text
    .toString()
    .split('\n')
    .map((line) => `${line.trimEnd()}\n`)
    .join('');
}
