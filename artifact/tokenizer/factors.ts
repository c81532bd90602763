import { createHash } from 'node:crypto';
import type { Factors } from './hash.ts';

/**
 * The factors of a table, of the sha256 of what it will hold: the same model gives the same table, yet nobody can choose
 * keys that collide, as the factors change with the keys.
 */
export function factorsOf(...contents: readonly Uint8Array[]): Factors {
  const hash = createHash('sha256');
  for (const bytes of contents) hash.update(bytes);
  const digest = hash.digest();
  return { first: digest.readInt32LE(0) | 1, second: digest.readInt32LE(4) | 1 };
}
