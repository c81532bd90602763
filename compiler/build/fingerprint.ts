import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { cacheFolder } from './cache-folder.ts';

/** sha256 of some text, as hexadecimal digits. */
export function sha256(...parts: readonly string[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex');
}

/** sha256 of a file's bytes. */
export async function hashFile(file: string, onBytes?: (bytes: number) => void): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 4 << 20 })) {
    hash.update(chunk);
    onBytes?.(chunk.length);
  }
  return hash.digest('hex');
}

/**
 * sha256 of a file. Remembered in the user's cache under the file's identity (device, inode, size, times in
 * nanoseconds), so that an unchanged file is read once only.
 */
export async function fileFingerprint(file: string, onBytes?: (bytes: number) => void): Promise<string> {
  const { dev, ino, size, mtimeNs, ctimeNs } = await stat(file, { bigint: true });
  const entry = cacheFolder('fingerprints', sha256([dev, ino, size, mtimeNs, ctimeNs].join(' ')));
  const known = await readFile(entry, 'utf8').catch(() => '');
  if (/^[0-9a-f]{64}$/.test(known)) return known;
  const digest = await hashFile(file, onBytes);
  await mkdir(cacheFolder('fingerprints'), { recursive: true });
  const temporary = `${entry}.${randomUUID()}`;
  await writeFile(temporary, digest);
  await rename(temporary, entry);
  return digest;
}
