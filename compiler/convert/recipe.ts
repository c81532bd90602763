import { BitnetError } from '../../errors.ts';
import { encodedBytes, FLOAT, isMatrix, isTernary } from '../import/encodings/index.ts';
import { ROPE_FACTORS } from '../import/gguf/rope.ts';
import type { Encoding, FloatEncodingName, ModelIR, TableTile, TensorIR, TernaryEncodingName } from '../ir/model.ts';
import type { KernelConfig } from '../kernels/config.ts';
import { architectureOf } from '../models/index.ts';
import { scaleName, valueEncoding } from './contents.ts';
import { type ConvertOptions, EMBED_TYPES, type EmbedType, type Format, WEIGHT_TYPES } from './options.ts';
import { rowOrder } from './row-order.ts';
import { chooseTile, tileOf, tilesOf } from './tiles.ts';

/** What ternary matrices are stored as; the last two hold them as real numbers. */
export type WeightEncoding = TernaryEncodingName | 'f16' | 'bf16';

/** A ternary matrix of the result. */
export interface ConvertedTernary {
  readonly kind: 'ternary';
  /** As in GGUF files, whatever the format. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly from: TensorIR;
  readonly encoding: WeightEncoding;
  /** Of TL1 and TL2. */
  readonly tile: TableTile | undefined;
  /** The matrix is stored with the scale 1, and its scale in a tensor of its own. */
  readonly scaleApart: boolean;
  /** Where its rows come from: see `rowOrder`. */
  readonly order: Int32Array | undefined;
}

/** A tensor of real numbers of the result. */
export interface ConvertedFloats {
  readonly kind: 'floats';
  readonly name: string;
  readonly shape: readonly number[];
  readonly from: TensorIR;
  readonly encoding: FloatEncodingName;
  readonly order: Int32Array | undefined;
}

/** A tensor of a few numbers that the input keeps elsewhere. */
export interface Given {
  readonly kind: 'given';
  readonly name: string;
  readonly shape: readonly number[];
  readonly encoding: 'f32';
  readonly values: readonly number[];
}

export type Converted = ConvertedTernary | ConvertedFloats | Given;

/** What a model is to become: every tensor decided on, none of them made. */
export interface Recipe {
  readonly ir: ModelIR;
  readonly format: Format;
  readonly weights: WeightEncoding;
  readonly tensors: readonly Converted[];
  /** The tiles of TL1 and TL2 tensors. */
  readonly config: KernelConfig | undefined;
  /** What the user should know, a sentence each. */
  readonly notes: readonly string[];
}

const TABLES: readonly string[] = ['token_embd.weight', 'output.weight'];

/** What the ternary matrices of the result are stored as. Throws a BitnetError where the format has no such type. */
export function weightEncoding({ to, type }: ConvertOptions): WeightEncoding {
  if (to === 'gguf') return type ?? 'i2_s';
  if (type === undefined) return 'hf_u8';
  if (type === 'f16' || type === 'bf16') return type;
  throw new BitnetError(`SafeTensors files cannot hold ${type}`, {
    hint: 'leave the type away to get packed ternary weights of two bits each, or ask for f16 or bf16',
  });
}

/**
 * The matrices of a model that are taken apart into ternary codes and scale. Masters that shall stay real numbers are
 * not: they are rounded at most.
 */
export function ternaryMatrices(ir: ModelIR, weights: WeightEncoding): TensorIR[] {
  const names = new Set(ir.tensors.map(({ name }) => name));
  const hasScale = ({ name, scale }: TensorIR) => scale !== undefined || names.has(scaleName(name));
  return ir.tensors.filter(
    (tensor) => isMatrix(tensor) && (isTernary(tensor.encoding) || isTernary(weights) || hasScale(tensor)),
  );
}

/**
 * Decides what each tensor becomes. `scales` are those of the ternary matrices, by name; `ropeFactors` those that the
 * result needs as a tensor.
 * Throws a BitnetError that names the first tensor that cannot be stored exactly as asked, and says what can hold it.
 */
export function planConversion(
  ir: ModelIR,
  options: ConvertOptions,
  scales: ReadonlyMap<string, number>,
  ropeFactors: readonly number[] | undefined,
): Recipe {
  const { to: format, embedType } = options;
  const weights = weightEncoding(options);
  const ternary = new Map(ternaryMatrices(ir, weights).map((tensor) => [tensor.name, tensor]));
  const scaleTensors = new Set([...ternary.keys()].map(scaleName));
  const scaleApart = keepsScaleApart(format, weights, scales);
  const pairs = format === 'gguf' ? architectureOf(ir.architecture).ropePairs : 'half';
  const config =
    weights === 'tl1' || weights === 'tl2' ? tilesOf(weights, ternary.values(), options.config) : undefined;

  const tensors = ir.tensors.flatMap((from): Converted[] => {
    const { name, shape } = from;
    if (scaleTensors.has(name)) return [];
    const order = rowOrder(from, ir.hyper, pairs);
    if (!ternary.has(name)) {
      const wanted = isMatrix(from) ? (weights as 'f16' | 'bf16') : TABLES.includes(name) ? embedType : undefined;
      return [{ kind: 'floats', name, shape, from, encoding: floatEncoding(from, format, wanted), order }];
    }
    const tile = config && tileOf(config, shape);
    requireFit(from, weights, WEIGHT_TYPES, tile);
    const matrix: Converted = { kind: 'ternary', name, shape, from, encoding: weights, tile, scaleApart, order };
    return scaleApart ? [matrix, given(scaleName(name), [scales.get(name)!])] : [matrix];
  });
  if (ropeFactors !== undefined) tensors.push(given(ROPE_FACTORS, ropeFactors));
  return { ir, format, weights, tensors, config, notes: notesOn(ir, tensors, scaleTensors) };
}

/** The bytes that a tensor of the result takes. */
export function bytesOf(tensor: Converted): number {
  return encodedBytes(tensor.encoding, tensor.shape, tensor.kind === 'ternary' ? tensor.tile : undefined);
}

function given(name: string, values: readonly number[]): Given {
  return { kind: 'given', name, shape: [values.length], encoding: 'f32', values };
}

/**
 * Whether the matrices keep their scales in tensors beside them. Then all do: a projection has such a tensor in every
 * layer or in none.
 */
function keepsScaleApart(format: Format, weights: WeightEncoding, scales: ReadonlyMap<string, number>): boolean {
  if (weights === 'hf_u8') return true;
  const inBlocks = weights === 'bf16' ? 'bf16' : 'f16';
  if (weights !== inBlocks && weights !== 'tq1_0' && weights !== 'tq2_0') return false;
  const lost = [...scales].find(([, scale]) => !isHeld(inBlocks, scale));
  if (lost === undefined) return false;
  if (format === 'gguf') return true;
  const [name, scale] = lost;
  throw new BitnetError(`tensor ${name} has the scale ${scale}, which ${weights} cannot hold exactly`, {
    hint: 'leave the type away: packed ternary weights keep their scale as float32',
  });
}

/** Whether a scale survives, and with it the weights. */
function isHeld(encoding: 'f16' | 'bf16', scale: number): boolean {
  const kept = new Float32Array(1);
  FLOAT[encoding].decode(FLOAT[encoding].encode(Float32Array.of(scale)), kept);
  return kept[0] === scale && scale > 0;
}

/** What a tensor of real numbers becomes: what is wanted, or what it is where the format has that. */
function floatEncoding(from: TensorIR, format: Format, wanted: EmbedType | 'bf16' | undefined): FloatEncodingName {
  const own = valueEncoding(from);
  if (format === 'gguf') {
    // llama.cpp computes with norms of float32 only.
    const encoding = wanted ?? (from.shape.length === 1 ? 'f32' : own);
    requireFit(from, encoding, EMBED_TYPES);
    return encoding;
  }
  if (wanted !== undefined && wanted !== 'f16' && wanted !== 'bf16') {
    throw new BitnetError(`SafeTensors files cannot hold ${wanted}`, { hint: 'ask for f16, or leave the type away' });
  }
  return wanted ?? (own === 'f16' || own === 'bf16' ? own : 'f32');
}

/** Refuses a type whose blocks or tiles the tensor's shape does not fill, and says which of the others fit. */
function requireFit(tensor: TensorIR, encoding: Encoding, others: readonly Encoding[], tile?: TableTile): void {
  const { name, shape } = tensor;
  try {
    encodedBytes(encoding, shape, tile);
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    const fitting = others.filter((other) => other !== encoding && fits(other, shape));
    throw new BitnetError(`tensor ${name} cannot be stored as ${encoding}: ${error.message}`, {
      hint: `types that can hold its ${shape.join(' × ')} values: ${fitting.join(', ')}`,
      cause: error,
    });
  }
}

function fits(encoding: Encoding, shape: readonly number[]): boolean {
  try {
    encodedBytes(encoding, shape, encoding === 'tl1' || encoding === 'tl2' ? chooseTile(encoding, shape) : undefined);
    return true;
  } catch (error) {
    if (error instanceof BitnetError) return false;
    throw error;
  }
}

function notesOn(ir: ModelIR, tensors: readonly Converted[], scaleTensors: ReadonlySet<string>): string[] {
  const notes: string[] = [];
  if (ir.tensors.some(({ name }) => scaleTensors.has(name))) {
    notes.push('the .scale tensors of the input are multiplied into the scales of their matrices');
  }
  if (tensors.some((tensor) => tensor.kind === 'ternary' && tensor.scaleApart && tensor.encoding !== 'hf_u8')) {
    notes.push('scales are float32 in .scale tensors beside the matrices: float16 or bfloat16 would round them');
  }
  if (tensors.some((tensor) => tensor.kind !== 'given' && tensor.order !== undefined)) {
    notes.push('rows of queries and keys are reordered: the formats pair rotating rows in different ways');
  }
  if (tensors.some((tensor) => tensor.kind === 'floats' && isMatrix(tensor.from))) {
    notes.push('the masters of the ternary weights stay real numbers');
  } else if (tensors.some((tensor) => tensor.kind === 'ternary' && !isTernary(tensor.from.encoding))) {
    notes.push('real numbers became ternary weights: as they are where they have three values, else by absmean');
  }
  return notes;
}
