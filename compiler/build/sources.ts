import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Source } from '../render/index.ts';

/** Puts sources into a folder, and folders of it. */
export async function writeSources(folder: string, sources: readonly Source[]): Promise<void> {
  for (const { file, text } of sources) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), text);
  }
}
