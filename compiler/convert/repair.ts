import { resolve } from 'node:path';
import { BitnetError } from '../../errors.ts';
import { type TensorSource, writeGguf } from '../export/gguf.ts';
import { modelOf } from '../import/gguf/model.ts';
import { type Gguf, type GgufFault, isGguf, type MetadataValue, overlaps, readGguf } from '../import/gguf/reader.ts';
import { ROPE_FACTORS } from '../import/gguf/rope.ts';
import type { ImportOptions } from '../import/options.ts';
import { ModelSource } from '../import/source.ts';
import type { ModelIR, TensorIR } from '../ir/model.ts';
import { verifyModel } from '../ir/verify.ts';
import { architectureOf } from '../models/index.ts';
import { systemErrors } from '../system-errors.ts';
import { locateData } from './locate-data.ts';
import { missingKeys } from './missing-keys.ts';
import { requirePlace, staged } from './staged.ts';
import { type VerifyProgress, verifyFile } from './verify.ts';

export interface RepairOptions extends ImportOptions {
  readonly onProgress?: (progress: VerifyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface RepairReport {
  /** The new file, absolute; undefined where there was nothing to repair, and nothing was written. */
  readonly output: string | undefined;
  /** Each thing that was done, a sentence each. */
  readonly repairs: readonly string[];
}

const ALIGNMENT = 32;
/** Bytes copied at a time. */
const PIECE_BYTES = 8 << 20;

/**
 * Writes a GGUF file anew with what can be repaired: data and a `general.alignment` that do not agree, and keys that
 * are missing but follow from the tensors' shapes. No byte of a tensor changes. The new file is checked as `verifyFile`
 * does before it gets its name.
 * Throws a BitnetError for what is wrong and cannot be known: nothing is guessed.
 */
export async function repair(input: string, output: string, options: RepairOptions = {}): Promise<RepairReport> {
  return systemErrors(async () => {
    if (!(await isGguf(input))) throw new BitnetError(`${input} is not a GGUF file: no other can be repaired`);
    const repairs: string[] = [];
    const mended = withKeys(await withPlaces(input, repairs), repairs);
    const ir = await modelOf(mended, options);
    verifyModel(ir, architectureOf(ir.architecture));
    if (repairs.length === 0) return { output: undefined, repairs };

    const path = resolve(output);
    await requirePlace(path);
    await using source = await ModelSource.open(ir);
    await staged(path, async (stage) => {
      await writeGguf(stage, mended.metadata, sources(mended, ir, source, options.signal));
      await requireSound(stage, options);
    });
    return { output: path, repairs };
  });
}

/** The file with its tensors where they are, whatever its alignment says. */
async function withPlaces(input: string, repairs: string[]): Promise<Gguf> {
  const faults: GgufFault[] = [];
  const gguf = await readGguf(input, faults);
  if (gguf.byteOrder === 'big') {
    throw new BitnetError(`${input} is big-endian, and is not repaired`, { hint: 'bitnet convert writes it anew' });
  }
  if (faults.length === 0) return gguf;
  const [overlap] = overlaps(gguf.tensors);
  if (overlap !== undefined) throw new BitnetError(`${input}: ${overlap.problem} (at byte ${overlap.offset})`);
  const located = locateData(gguf);
  const declared = faults.find(({ tensor }) => tensor === undefined);
  if (declared !== undefined) repairs.push(`${declared.problem}: it is ${ALIGNMENT} now`);
  if (located.dataStart !== gguf.dataStart) {
    repairs.push(`the tensors' data were found at byte ${located.dataStart}, not at ${gguf.dataStart}`);
  }
  const moved = located.tensors.filter(({ offset }) => (offset - located.dataStart) % ALIGNMENT !== 0).length;
  if (moved > 0)
    repairs.push(`the data of ${moved} tensors were not aligned: they are aligned to ${ALIGNMENT} bytes now`);
  return located;
}

/** The file with the keys that follow from its tensors. */
function withKeys(gguf: Gguf, repairs: string[]): Gguf {
  const metadata = new Map<string, MetadataValue>(gguf.metadata);
  const architecture = metadata.get('general.architecture')?.value;
  for (const { key, value, because } of typeof architecture === 'string' ? missingKeys(gguf, architecture) : []) {
    metadata.set(key, value);
    repairs.push(`${key} was missing: it is ${value.value}, ${because}`);
  }
  if (repairs.length > 0) metadata.set('general.alignment', { type: 'uint32', value: ALIGNMENT });
  return { ...gguf, metadata };
}

/** The tensors as they are in the file, byte for byte. */
function sources(gguf: Gguf, ir: ModelIR, source: ModelSource, signal: AbortSignal | undefined): TensorSource[] {
  const known = new Map(ir.tensors.map((tensor) => [tensor.name, tensor]));
  return gguf.tensors.map(({ name, shape, offset, bytes }) => {
    // Rope factors are part of the hyper-parameters, not of the model's tensors.
    const factors: TensorIR = { name, shape, encoding: 'f32', file: 0, offset, bytes: bytes! };
    const tensor = name === ROPE_FACTORS ? factors : known.get(name)!;
    // Whatever the order in their blocks, which stays: files have one type for all of them.
    const encoding = tensor.encoding.startsWith('i2_s') ? 'i2_s' : tensor.encoding;
    return { name, shape, encoding, tile: tensor.tile, data: () => pieces(source, tensor, signal) };
  });
}

async function* pieces(source: ModelSource, tensor: TensorIR, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < tensor.bytes; at += PIECE_BYTES) {
    signal?.throwIfAborted();
    yield await source.read(tensor, at, Math.min(PIECE_BYTES, tensor.bytes - at));
  }
}

async function requireSound(path: string, options: RepairOptions): Promise<void> {
  const { findings } = await verifyFile(path, options);
  if (findings.length === 0) return;
  const [{ problem, hint }] = findings;
  const more = findings.length > 1 ? `, and ${findings.length - 1} more` : '';
  throw new BitnetError(`the file is damaged in a way that cannot be repaired: ${problem}${more}`, { hint });
}
