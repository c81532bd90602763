import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, sep } from 'node:path';
import * as assert from 'uvu/assert';
import { packageRoot } from '../../package-root.ts';

/** Set to write the expected files instead of comparing with them: `UPDATE_GOLDEN=1 npm test`; then read the diff. */
const UPDATE = Boolean(process.env.UPDATE_GOLDEN);

export const EXPECTED = join(packageRoot(), 'test', 'golden', 'expected');

function firstDifference(actual: string, expected: string): string {
  const [a, b] = [actual.split('\n'), expected.split('\n')];
  const line = a.findIndex((text, i) => text !== b[i]);
  const at = line < 0 ? a.length : line;
  return `line ${at + 1} is\n  ${a[at]}\nand not\n  ${b[at]}`;
}

/** Compares text with a file of test/golden/expected, or writes it where UPDATE_GOLDEN is set. */
export function assertExpected(file: string, text: string): void {
  const path = join(EXPECTED, file);
  if (UPDATE) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    return;
  }
  let expected: string;
  try {
    expected = readFileSync(path, 'utf8');
  } catch {
    assert.unreachable(`${path} is missing: UPDATE_GOLDEN=1 npm test writes it`);
    return;
  }
  assert.ok(
    text === expected,
    `${file}: ${firstDifference(text, expected)}\nIf that is meant: UPDATE_GOLDEN=1 npm test`,
  );
}

/** Fails where the folders of the targets hold files that no test asks for, or removes them where UPDATE_GOLDEN is set. */
export function assertNoOthers(files: ReadonlySet<string>): void {
  const found = readdirSync(EXPECTED, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(EXPECTED.length + 1));
  const others = found.filter((file) => file.includes(sep) && !files.has(file));
  if (UPDATE) for (const file of others) rmSync(join(EXPECTED, file));
  else assert.equal(others, [], 'these files belong to no test');
}
