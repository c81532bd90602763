import { copyFile, link, mkdir, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';

/**
 * Makes another artifact folder of the same files in `out`, by links where the disk has them: a program that reads the same
 * weights can be compiled into it, without packing them again and without touching the first one.
 */
export async function linkArtifact(artifact: string, out: string): Promise<void> {
  const copy = join(out, basename(artifact));
  await mkdir(copy, { recursive: true });
  for (const entry of await readdir(artifact, { withFileTypes: true, recursive: true })) {
    const from = join(entry.parentPath, entry.name);
    const to = join(copy, from.slice(artifact.length));
    if (entry.isDirectory()) await mkdir(to, { recursive: true });
    else await mkdir(join(to, '..'), { recursive: true }).then(() => link(from, to).catch(() => copyFile(from, to)));
  }
}
