import { BitnetError } from '../../errors.ts';
import { encodedBytes, FLOAT } from '../import/encodings/index.ts';
import { CHUNK_VALUES } from '../import/source.ts';
import type { FloatEncodingName } from '../ir/model.ts';
import { type PackedTensor, type Part, type Plan, pad16 } from '../ir/plan.ts';
import { headTiles, tiledBytes } from '../kernels/head-tiles.ts';
import { layoutOf } from '../kernels/index.ts';
import { coarseCopy, STRETCH_ROWS, screenBytes } from '../kernels/screen.ts';
import type { Workbench } from '../threads/workbench.ts';

type Packed<K extends PackedTensor['kind']> = Extract<PackedTensor, { kind: K }>;

/** A part of the weights file that can be made by itself: what a thread is given to do. */
export type Piece = {
  /** Before the names of the source tensors: `blk.3.` of a layer's, nothing of the others. */
  readonly prefix: string;
  /** Where in the file the tensors that it is of begin: their offsets count from there. */
  readonly base: number;
} & (
  | { readonly kind: 'vector'; readonly tensor: Packed<'vector'> }
  /** Some rows of a table: whole multiples of 16, but for the last ones. */
  | { readonly kind: 'rows'; readonly tensor: Packed<'rows'>; readonly first: number; readonly count: number }
  /** The coarse copy of some rows of a table: whole stretches of it, but for the last one. */
  | { readonly kind: 'screen'; readonly tensor: Packed<'screen'>; readonly first: number; readonly count: number }
  | { readonly kind: 'matrix'; readonly scales: Packed<'scales'>; readonly codes: Packed<'codes'> }
);

/** Bytes, and where in the weights file they go. */
export interface Placed {
  readonly position: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** The pieces of a weights file, in its order. */
export function* piecesOf({ weights, hyper }: Pick<Plan, 'weights' | 'hyper'>): Generator<Piece> {
  yield* piecesAmong(weights.shared, 0, '');
  for (let layer = 0; layer < hyper.layers; layer++) {
    yield* piecesAmong(weights.layer, weights.layerBase + layer * weights.layerBytes, `blk.${layer}.`);
  }
}

function* piecesAmong(tensors: readonly PackedTensor[], base: number, prefix: string): Generator<Piece> {
  for (const tensor of tensors) {
    switch (tensor.kind) {
      case 'vector':
        yield { kind: 'vector', base, prefix, tensor };
        break;
      case 'rows':
        for (const run of runsOf(tensor, 16)) yield { kind: 'rows', base, prefix, tensor, ...run };
        break;
      case 'screen':
        for (const run of runsOf(tensor, STRETCH_ROWS)) yield { kind: 'screen', base, prefix, tensor, ...run };
        break;
      case 'scales': {
        const codes = tensors.find(({ name }) => name === tensor.of) as Packed<'codes'>;
        yield { kind: 'matrix', base, prefix, scales: tensor, codes };
        break;
      }
      case 'codes':
        // Made with its scales, which lie before it.
        break;
    }
  }
}

/** Runs of so many rows, or a multiple of it, that are worth a thread's while and small beside what it has in memory. */
function* runsOf(
  { rows, cols }: Packed<'rows' | 'screen'>,
  multiple: number,
): Generator<{ first: number; count: number }> {
  const run = multiple * Math.ceil(CHUNK_VALUES / cols / multiple);
  for (let first = 0; first < rows; first += run) yield { first, count: Math.min(run, rows - first) };
}

/** Makes a piece. Throws a BitnetError that names the tensor whose contents cannot be. */
export async function packPiece(bench: Workbench, piece: Piece): Promise<Placed[]> {
  const { base } = piece;
  switch (piece.kind) {
    case 'vector':
      return [{ position: base + piece.tensor.offset, bytes: await packVector(bench, piece) }];
    case 'rows': {
      const { tensor, first } = piece;
      if (tensor.tiled) return [await packTiles(bench, piece)];
      const position = base + tensor.offset + first * (tensor.bytes / tensor.rows);
      return [{ position, bytes: await packRows(bench, piece) }];
    }
    case 'screen': {
      const { cols, bits, offset } = piece.tensor;
      const position = base + offset + screenBytes(piece.first, cols, bits);
      return [{ position, bytes: await packScreen(bench, piece) }];
    }
    case 'matrix':
      return await packMatrix(bench, piece);
  }
}

type PieceOf<K extends Piece['kind']> = Extract<Piece, { kind: K }>;

async function packVector({ source }: Workbench, { prefix, tensor }: PieceOf<'vector'>) {
  const padded = new Float32Array(pad16(tensor.size));
  padded.set(await source.values(prefix + tensor.tensor));
  return new Uint8Array(padded.buffer);
}

/** Rows as they are where the plan has them in the model file's own encoding, or encoded anew. */
async function packRows({ source }: Workbench, { prefix, tensor, first, count }: PieceOf<'rows' | 'screen'>) {
  const name = prefix + tensor.tensor;
  const stored = await source.rows(name, first, count);
  const { encoding } = source.tensor(name);
  if (encoding === tensor.encoding) return stored;
  const values = new Float32Array(count * tensor.cols);
  FLOAT[encoding as FloatEncodingName].decode(stored, values);
  try {
    return FLOAT[tensor.encoding].encode(values);
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    const rows = `rows ${first} to ${first + count - 1}`;
    throw new BitnetError(`tensor ${name}, ${rows}: ${error.message}`, { hint: error.hint, cause: error });
  }
}

/** Rows in a GPU's tiles, sixteen by sixteen. */
async function packTiles(bench: Workbench, piece: PieceOf<'rows'>): Promise<Placed> {
  const { tensor, first, count, base } = piece;
  const { encoding, cols } = tensor;
  const tiles = headTiles(encoding, cols)!;
  const rows = await packRows(bench, piece);
  const [from, to] = [16 * encodedBytes(encoding, [cols]), tiledBytes(tiles, 16, cols)];
  const bytes = new Uint8Array(tiledBytes(tiles, count, cols));
  for (let block = 0; block * 16 < count; block++) {
    bytes.set(tiles.pack(rows.subarray(block * from, (block + 1) * from), cols), block * to);
  }
  return { position: base + tensor.offset + tiledBytes(tiles, first, cols), bytes };
}

/** The coarse copy of rows, as the head's decoder yields them from their packed bytes. */
async function packScreen(bench: Workbench, piece: PieceOf<'screen'>) {
  const { tensor, count } = piece;
  const values = new Float32Array(count * tensor.cols);
  FLOAT[tensor.encoding].decode(await packRows(bench, piece), values);
  return coarseCopy(values, count, tensor.cols, tensor.bits);
}

/** The codes of a part of a matrix, in the bench's own room, and their scale. */
function ternaryOf(bench: Workbench, prefix: string, { tensor, scaleTensor, rows }: Part, cols: number) {
  const factor = scaleTensor === null ? null : prefix + scaleTensor;
  return bench.source.scaledTernary(prefix + tensor, factor, bench.codes(rows * cols));
}

/** The scales of a fused matrix's row groups, and its packed codes part by part. */
async function packMatrix(bench: Workbench, piece: PieceOf<'matrix'>) {
  const { prefix, base, scales, codes: packed } = piece;
  const layout = layoutOf(packed.layout);
  if (packed.woven) return await packWoven(bench, piece);
  const { scaleRows = 16 } = layout;
  const factors = new Float32Array(scales.groups);
  const placed: Placed[] = [{ position: base + scales.offset, bytes: new Uint8Array(factors.buffer) }];
  for (const part of packed.parts) {
    const { rows, firstRow } = part;
    const { codes, scale } = await ternaryOf(bench, prefix, part, packed.cols);
    factors.fill(scale, firstRow / scaleRows, (firstRow + pad16(rows)) / scaleRows);
    const position = base + packed.offset + firstRow * (packed.bytes / packed.rows);
    placed.push({ position, bytes: layout.pack(codes, rows, packed.cols) });
  }
  return placed;
}

/** The same of a matrix whose two parts are woven: eight rows of one, eight of the other. */
async function packWoven(bench: Workbench, { prefix, base, scales, codes: packed }: PieceOf<'matrix'>) {
  const { cols } = packed;
  const factors = new Float32Array(scales.groups);
  const woven = new Uint8Array(packed.rows * cols).fill(1);
  for (const [index, part] of packed.parts.entries()) {
    const { rows } = part;
    const { codes, scale } = await ternaryOf(bench, prefix, part, cols);
    for (let row = 0; row < rows; row += 8) {
      woven.set(codes.subarray(row * cols, Math.min(row + 8, rows) * cols), (2 * row + 8 * index) * cols);
    }
    for (let half = index; half < factors.length; half += 2) factors[half] = scale;
  }
  return [
    { position: base + scales.offset, bytes: new Uint8Array(factors.buffer) },
    { position: base + packed.offset, bytes: layoutOf(packed.layout).pack(woven, packed.rows, cols) },
  ];
}
