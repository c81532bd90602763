import type { FileHandle } from 'node:fs/promises';
import { BitnetError } from '../../../errors.ts';
import { decodeTernary, FLOAT, type FloatEncodingName } from '../encodings/index.ts';
import { withFile } from '../file.ts';
import { I2S_LAYOUTS, type I2sLayout } from '../options.ts';
import type { Gguf, GgufTensor } from './reader.ts';

/** Norms, and the matrices that multiply what they give. */
const READERS: readonly (readonly [norm: string, matrix: string])[] = [
  ['attn_norm', 'attn_v'],
  ['attn_sub_norm', 'attn_output'],
  ['ffn_norm', 'ffn_gate'],
  ['ffn_norm', 'ffn_up'],
  ['ffn_sub_norm', 'ffn_down'],
];

/** Rows of a matrix that are looked at: a whole number of blocks of every order, whatever the columns. */
const SAMPLE_ROWS = 256;
/** Evidence that chance does not give, and how many times that of the published order it must be. */
const MIN_EVIDENCE = 200;
const MIN_RATIO = 4;

/**
 * The order of a file's I2_S tensors. The file does not say it, and no order gives codes that another could not; but
 * training makes a norm's gain for a channel and the number of weights other than zero in the column that reads the
 * channel depend on each other, and a wrong order shuffles the columns. The evidence for an order is Σ n·r² over the
 * norms of three layers, n channels and correlation r each: about one for each norm if there is nothing to see, as in
 * random models; thousands for the right order of a trained one, and a fraction of that for wrong orders, which leave a
 * quarter of the columns in place. Another order than the published one is taken only where the difference is plain.
 */
export async function detectI2sLayout(gguf: Gguf): Promise<I2sLayout> {
  const pairs = samples(gguf);
  const layouts = Object.keys(I2S_LAYOUTS) as I2sLayout[];
  const evidence: Record<I2sLayout, number> = { '128': 0, '64': 0, '4rows': 0 };
  try {
    await withFile(gguf.file, async (handle) => {
      for (const { norm, matrix } of pairs) {
        const gains = await readGains(gguf, handle, norm);
        const sample = await readSample(handle, matrix);
        for (const layout of layouts) {
          evidence[layout] += gains.length * correlation(gains, columnDensity(sample, layout)) ** 2;
        }
      }
    });
  } catch (error) {
    // Codes that cannot be are refused with their tensor's name when it is read.
    if (!(error instanceof BitnetError)) throw error;
    return '128';
  }
  const [best] = layouts.toSorted((a, b) => evidence[b] - evidence[a]);
  return evidence[best!] > Math.max(MIN_EVIDENCE, MIN_RATIO * evidence['128']) ? best! : '128';
}

/** The pairs of the first, the middle and the last layer that are there and fit together. */
function samples(gguf: Gguf): { norm: GgufTensor; matrix: GgufTensor }[] {
  const byName = new Map(gguf.tensors.map((tensor) => [tensor.name, tensor]));
  let layers = 0;
  while (byName.has(`blk.${layers}.ffn_norm.weight`)) layers++;
  return [...new Set([0, layers >> 1, layers - 1])].flatMap((layer) =>
    READERS.flatMap(([normName, matrixName]) => {
      const norm = byName.get(`blk.${layer}.${normName}.weight`);
      const matrix = byName.get(`blk.${layer}.${matrixName}.weight`);
      if (!norm || !matrix || matrix.typeName !== 'I2_S' || !(norm.typeName.toLowerCase() in FLOAT)) return [];
      const fits = norm.shape.length === 1 && matrix.shape.length === 2 && norm.shape[0] === matrix.shape[1];
      return fits && norm.bytes !== undefined && matrix.shape[0]! >= SAMPLE_ROWS ? [{ norm, matrix }] : [];
    }),
  );
}

async function readGains(gguf: Gguf, handle: FileHandle, norm: GgufTensor): Promise<Float32Array> {
  const { decode, swapBytes } = FLOAT[norm.typeName.toLowerCase() as FloatEncodingName];
  const bytes = await readAt(handle, norm.offset, norm.bytes!);
  if (gguf.byteOrder === 'big') swapBytes(bytes);
  const gains = new Float32Array(norm.shape[0]!);
  decode(bytes, gains);
  return gains;
}

interface Sample {
  readonly bytes: Uint8Array;
  readonly cols: number;
}

async function readSample(handle: FileHandle, matrix: GgufTensor): Promise<Sample> {
  const cols = matrix.shape[1]!;
  return { bytes: await readAt(handle, matrix.offset, (SAMPLE_ROWS * cols) / 4), cols };
}

async function readAt(handle: FileHandle, offset: number, bytes: number): Promise<Uint8Array> {
  const buffer = new Uint8Array(bytes);
  await handle.read(buffer, 0, bytes, offset);
  return buffer;
}

/** How many weights of each column are not zero, if that is the order. */
function columnDensity({ bytes, cols }: Sample, layout: I2sLayout): Float64Array {
  const density = new Float64Array(cols);
  const withTail = new Uint8Array(bytes.length + 32);
  withTail.set(bytes);
  const { codes } = decodeTernary(I2S_LAYOUTS[layout], withTail, [SAMPLE_ROWS, cols], { byteOrder: 'little' });
  for (let at = 0; at < codes.length; at += cols) {
    for (let col = 0; col < cols; col++) if (codes[at + col] !== 1) density[col]!++;
  }
  return density;
}

function correlation(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [sumA, sumB, sumAA, sumBB, sumAB] = [0, 0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    sumA += a[i]!;
    sumB += b[i]!;
    sumAA += a[i]! ** 2;
    sumBB += b[i]! ** 2;
    sumAB += a[i]! * b[i]!;
  }
  const spread = (a.length * sumAA - sumA ** 2) * (a.length * sumBB - sumB ** 2);
  const r = (a.length * sumAB - sumA * sumB) / Math.sqrt(spread);
  return Number.isFinite(r) ? r : 0;
}
