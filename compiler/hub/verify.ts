import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type CacheOptions, findModel, unfinished } from './cache.ts';
import { Digest, readPieces } from './digest.ts';
import type { HubFile } from './hub.ts';
import { hubErrors } from './system-errors.ts';

/** What became of a file since it was downloaded. */
export interface FileCheck {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Absent where it is as it came. */
  readonly problem?: string;
}

/**
 * Reads every file of a model again, and compares it with what was downloaded.
 * @throws BitnetError where there is no such model, or it was never complete
 */
export async function verifyModel(name: string, options: CacheOptions = {}): Promise<FileCheck[]> {
  return hubErrors(async () => {
    const { folder, record } = await findModel(name);
    if (!record) throw unfinished(name);
    const checks: FileCheck[] = [];
    for (const { path, bytes, sha256 } of record.files) {
      const file = { path, bytes, checksum: { kind: 'sha256', hex: sha256 } } as const;
      const { problem } = await checkFile(folder, file, options);
      checks.push({ path, bytes, sha256, ...(problem !== undefined && { problem }) });
    }
    return checks;
  });
}

/** Compares a file of a model's folder with what it should be: its sha256, or what is wrong with it. */
export async function checkFile(
  folder: string,
  { path, bytes, checksum }: HubFile,
  { onProgress, signal }: CacheOptions,
): Promise<{ readonly sha256?: string; readonly problem?: string }> {
  const place = join(folder, ...path.split('/'));
  const found = await stat(place).catch(() => undefined);
  if (!found?.isFile()) return { problem: 'it is missing' };
  if (found.size !== bytes) return { problem: `it has ${found.size} bytes, not ${bytes}` };
  const digest = new Digest(checksum, bytes);
  let done = 0;
  for await (const piece of readPieces(place, signal)) {
    digest.update(piece);
    done += piece.length;
    onProgress?.({ message: `checking ${path}`, fraction: done / bytes });
  }
  const { sha256, matches } = digest.end();
  return matches ? { sha256 } : { problem: 'its bytes have changed' };
}
