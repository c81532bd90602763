import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { shapeByName } from './shapes.ts';
import { synthesize } from './synthesize.ts';

export { SHAPES, type Shape, shapeByName } from './shapes.ts';
export { type SynthesisOptions, synthesize } from './synthesize.ts';

/** Part of the cached files' names, so that a change of what is synthesised makes new ones. */
const GENERATION = 1;

/**
 * The path of a GGUF file with the shape of a published model and random weights: I2_S linears, float16 head.
 * It is made on first use and kept in the user's cache: $BITNET_CACHE, $XDG_CACHE_HOME/bitnet-toolchain or
 * ~/.cache/bitnet-toolchain. Throws BitnetError if there is no shape of that name.
 */
export async function shapeModel(name: string, onProgress?: (bytes: number, total: number) => void): Promise<string> {
  const shape = shapeByName(name);
  const folder = join(cacheFolder(), 'shapes');
  const path = join(folder, `${name}-random${GENERATION}.gguf`);
  if (!existsSync(path)) {
    await mkdir(folder, { recursive: true });
    await synthesize(shape, path, onProgress === undefined ? {} : { onProgress });
  }
  return path;
}

function cacheFolder(): string {
  const { BITNET_CACHE, XDG_CACHE_HOME } = process.env;
  return BITNET_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'bitnet-toolchain');
}
