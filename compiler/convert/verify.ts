import { existsSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { BitnetError } from '../../errors.ts';
import { hashFile } from '../build/fingerprint.ts';
import { isGguf } from '../import/gguf/reader.ts';
import { type ImportOptions, importModel } from '../import/index.ts';
import { modelFaults } from '../ir/verify.ts';
import { architectureOf } from '../models/index.ts';
import { systemErrors } from '../system-errors.ts';
import { checkArtifact, MANIFEST } from './check-artifact.ts';
import { checkData, type TensorCheck } from './check-data.ts';
import { checkGguf } from './check-gguf.ts';
import { type Finding, Findings } from './findings.ts';

export interface VerifyProgress {
  readonly message: string;
  /** From 0 to 1, where it is known. */
  readonly fraction?: number;
}

export interface VerifyOptions extends ImportOptions {
  /** That the file must have, as hexadecimal digits. */
  readonly sha256?: string;
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface VerifyReport {
  /** Absolute. */
  readonly path: string;
  readonly kind: 'gguf' | 'safetensors' | 'artifact';
  /** All that is wrong. */
  readonly findings: readonly Finding[];
  /** What was found in each tensor. An artifact has none: its files are compared as a whole. */
  readonly tensors: readonly TensorCheck[];
}

/**
 * Checks a model file, a Hugging Face folder or an artifact: structure and sizes, that it is a model we know with all
 * its tensors, its tokenizer, that every ternary code is one, and every scale and other value a finite number. It lists
 * all that is wrong, not the first of it.
 * Throws a BitnetError only where there is nothing to check: no such file, or a sha256 for a folder.
 */
export async function verifyFile(path: string, options: VerifyOptions = {}): Promise<VerifyReport> {
  return systemErrors(async () => {
    const place = resolve(path);
    const found = await stat(place).catch((cause) => {
      throw new BitnetError(`cannot read ${path}: ${cause.message}`, { cause });
    });
    const findings = new Findings();
    if (options.sha256 !== undefined) {
      if (!found.isFile()) {
        throw new BitnetError(`${path} is a folder, which has no sha256`, { hint: 'name one of its files' });
      }
      await checkSha256(place, options.sha256, findings, watching('reading the file', found.size, options));
    }
    const report = { path: place, findings: findings.list };
    if (existsSync(join(place, MANIFEST))) {
      await checkArtifact(place, findings, watching('comparing files', undefined, options));
      return { ...report, kind: 'artifact', tensors: [] };
    }
    const kind = found.isFile() && (await isGguf(place)) ? 'gguf' : 'safetensors';
    return { ...report, kind, tensors: await checkModel(place, kind, options, findings) };
  });
}

async function checkModel(
  path: string,
  kind: 'gguf' | 'safetensors',
  options: VerifyOptions,
  findings: Findings,
): Promise<TensorCheck[]> {
  const gguf = kind === 'gguf' ? await checkGguf(path, options, findings) : undefined;
  const ir = kind === 'gguf' ? gguf?.ir : await findings.of(() => importModel(path, options));
  if (ir === undefined) return [];
  const places = new Map(
    ir.tensors.map(({ name, offset, file }) => [name, { offset, file: ir.source.files[file].path }]),
  );
  for (const fault of modelFaults(ir, architectureOf(ir.architecture))) {
    const tensor = /^tensor (\S+)/.exec(fault.message)?.[1];
    findings.error(fault, { tensor, ...(tensor !== undefined && places.get(tensor)) });
  }
  const tensors = ir.tensors.filter(({ name }) => !gguf?.misplaced.has(name));
  const tick = watching(
    'reading the tensors',
    tensors.reduce((sum, { bytes }) => sum + bytes, 0),
    options,
  );
  return checkData(ir, tensors, findings, ({ bytes }) => tick(bytes));
}

async function checkSha256(
  file: string,
  wanted: string,
  findings: Findings,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const digest = await hashFile(file, onBytes);
  if (digest !== wanted.toLowerCase()) {
    findings.add({
      problem: `its sha256 is ${digest}, not ${wanted}`,
      file,
      hint: 'the file is damaged, or another one than was meant: download it again',
    });
  }
}

/** To be called with the bytes that were read since: tells how far the work is, and throws what aborts it. */
function watching(message: string, total: number | undefined, { onProgress, signal }: VerifyOptions) {
  let done = 0;
  return (bytes: number): void => {
    signal?.throwIfAborted();
    done += bytes;
    onProgress?.(total === undefined ? { message } : { message, fraction: done / total });
  };
}
