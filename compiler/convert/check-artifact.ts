import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Manifest, manifestSchema } from '../../artifact/manifest.ts';
import { hashFile } from '../build/fingerprint.ts';
import type { Findings } from './findings.ts';

/** What makes a folder an artifact. */
export const MANIFEST = 'manifest.json';

/** Compares every file of an artifact with what its manifest says: sizes and sha256. */
export async function checkArtifact(
  folder: string,
  findings: Findings,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const manifest = await readManifest(join(folder, MANIFEST), findings);
  if (manifest === undefined) return;
  for (const { file: name, bytes, sha256, tensors, layers } of Object.values(manifest.weights)) {
    const file = join(folder, name);
    await checkFile(file, sha256, findings, onBytes, bytes);
    for (const [room, entries, end] of [
      [bytes, tensors, 'its file'],
      [layers.bytes, layers.tensors, 'its layer'],
    ] as const) {
      for (const { name: tensor, offset, bytes: size } of entries) {
        if (offset + size <= room) continue;
        findings.add({ problem: `tensor ${tensor} goes past the end of ${end}`, tensor, file, offset });
      }
    }
    if (layers.offset + manifest.model.layers * layers.bytes > bytes) {
      findings.add({ problem: 'the layers go past the end of their file', file, offset: layers.offset });
    }
  }
  for (const { library, sha256 } of Object.values(manifest.targets)) {
    await checkFile(join(folder, library), sha256, findings, onBytes);
  }
  const { file, sha256 } = manifest.tokenizer;
  await checkFile(join(folder, file), sha256, findings, onBytes);
}

async function readManifest(file: string, findings: Findings): Promise<Manifest | undefined> {
  try {
    return manifestSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    findings.add({ problem: `the manifest cannot be read: ${(error as Error).message}`, file, hint: HINT });
    return undefined;
  }
}

async function checkFile(
  file: string,
  sha256: string,
  findings: Findings,
  onBytes: (bytes: number) => void,
  bytes?: number,
): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (!found?.isFile()) return findings.add({ problem: 'the file is missing', file, hint: HINT });
  if (bytes !== undefined && found.size !== bytes) {
    return findings.add({ problem: `the file has ${found.size} bytes, not ${bytes}`, file, hint: HINT });
  }
  const digest = await hashFile(file, onBytes);
  if (digest !== sha256) findings.add({ problem: `the file's sha256 is ${digest}, not ${sha256}`, file, hint: HINT });
}

const HINT = 'compile the model again';
