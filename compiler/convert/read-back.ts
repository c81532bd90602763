import { isDeepStrictEqual } from 'node:util';
import { BitnetError } from '../../errors.ts';
import { typesOf } from '../export/huggingface-tokenizer.ts';
import { preTokenizerSteps } from '../import/huggingface/pre-tokenizers.ts';
import { importModel } from '../import/index.ts';
import { CHUNK_VALUES, ModelSource } from '../import/source.ts';
import type { Encoding, ModelIR, TensorIR } from '../ir/model.ts';
import { architectureOf } from '../models/index.ts';
import { Contents, decoded, valueEncoding } from './contents.ts';
import type { ConvertOptions, ConvertReport, TensorReport } from './options.ts';
import { bytesOf, type Converted, type ConvertedFloats, type ConvertedTernary, type Recipe } from './recipe.ts';
import { beginStage } from './stages.ts';

/**
 * Reads a result as any other model, and compares it with the input that `contents` reads: ternary codes and scales bit
 * for bit, real numbers bit for bit unless a smaller type was asked for, tokenizer and hyper-parameters.
 * Throws a BitnetError for whatever is not as the recipe has it.
 */
export async function readBack(
  path: string,
  recipe: Recipe,
  contents: Contents,
  options: ConvertOptions,
): Promise<Pick<ConvertReport, 'tensors' | 'bytes'>> {
  const ir = await importModel(path, { config: recipe.config });
  requireSameModel(recipe.ir, ir);
  await using result = await ModelSource.open(ir);
  const found = new Contents(result);
  const total = recipe.tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  const tick = beginStage('check', 'reading the result back', total, options);
  const tensors: TensorReport[] = [];
  for (const tensor of recipe.tensors) {
    tensors.push(await compare(tensor, contents, result, found));
    tick(bytesOf(tensor));
  }
  return { tensors, bytes: ir.source.files.reduce((sum, { bytes }) => sum + bytes, 0) };
}

async function compare(
  tensor: Converted,
  contents: Contents,
  result: ModelSource,
  found: Contents,
): Promise<TensorReport> {
  const { name, shape, encoding } = tensor;
  // Scales apart are compared with their matrices, rope factors with the hyper-parameters.
  if (tensor.kind === 'given') return { name, shape, from: undefined, to: encoding, equal: true, greatestError: 0 };
  const back = result.tensor(name);
  if (back.encoding !== encoding) throw fault(name, `is read as ${back.encoding}, not as ${encoding}`);
  const report = { name, shape, from: tensor.from.encoding, to: encoding };
  if (tensor.kind === 'floats') {
    const greatestError = await floatError(tensor, contents, found, back);
    if (greatestError !== 0 && isHeldBy(encoding, valueEncoding(tensor.from))) {
      throw fault(name, `has values that differ by up to ${greatestError}`);
    }
    return { ...report, equal: greatestError === 0, greatestError };
  }
  const scale = await requireSameTernary(tensor, contents, found, result);
  return { ...report, equal: true, greatestError: 0, scale };
}

async function requireSameTernary(
  tensor: ConvertedTernary,
  contents: Contents,
  found: Contents,
  result: ModelSource,
): Promise<number> {
  const { name, shape } = tensor;
  const wanted = await contents.ternary(tensor);
  const back = await found.ternary({ from: result.tensor(name), shape, order: undefined });
  if (Buffer.compare(wanted.codes, back.codes) !== 0) {
    const at = wanted.codes.findIndex((code, index) => code !== back.codes[index]);
    throw fault(name, `has another weight at ${at}: code ${back.codes[at]} instead of ${wanted.codes[at]}`);
  }
  // Real numbers that are all zero have no scale.
  const isZero = back.scale === 0 && back.codes.every((code) => code === 1);
  if (!Object.is(wanted.scale, back.scale) && !isZero)
    throw fault(name, `has the scale ${back.scale}, not ${wanted.scale}`);
  return wanted.scale;
}

/** The greatest difference between a value of the input and of the result. */
async function floatError(
  tensor: ConvertedFloats,
  contents: Contents,
  found: Contents,
  back: TensorIR,
): Promise<number> {
  const [own, other] = [valueEncoding(tensor.from), valueEncoding(back)];
  const [a, b] = [new Float32Array(CHUNK_VALUES), new Float32Array(CHUNK_VALUES)];
  const chunks = found.floats({ from: back, order: undefined });
  let greatest = 0;
  for await (const chunk of contents.floats(tensor)) {
    const { value: read } = await chunks.next();
    if (own === other && Buffer.compare(chunk, read) === 0) continue;
    const wanted = decoded(own, chunk, a);
    const values = decoded(other, read, b);
    for (let i = 0; i < wanted.length; i++) {
      const error = Math.abs(wanted[i] - values[i]);
      // Not a number is never more than anything.
      if (!(error <= greatest)) greatest = error;
    }
  }
  return greatest;
}

/** Whether all values of an encoding are among those of another. */
const isHeldBy = (to: Encoding, from: Encoding): boolean => to === from || to === 'f32';

/** Sizes are exact in every format; other numbers may be float32 there. */
function requireSameModel(input: ModelIR, result: ModelIR): void {
  // Several names stand for the same: what counts is what is computed.
  const [architectureIn, architectureOut] = [input, result].map(({ architecture }) => ({
    ...architectureOf(architecture),
    id: null,
  }));
  const [tokenizerIn, tokenizerOut] = [input, result].map(({ tokenizer }) => ({
    ...tokenizer,
    pre: tokenizer.model === 'gpt2' ? JSON.stringify(preTokenizerSteps(tokenizer.pre) ?? tokenizer.pre) : null,
    types: typesOf(tokenizer),
    scores: rounded(tokenizer.scores),
  }));
  const [before, after] = [input, result].map(({ hyper }) => ({ ...hyper, rope: { ...hyper.rope, pairs: null } }));
  requireEqual('architecture', architectureIn, architectureOut);
  requireEqual('pooling', input.pooling, result.pooling);
  requireEqual('hyper-parameter', rounded(before), rounded(after));
  requireEqual('tokenizer', tokenizerIn, tokenizerOut);
}

function requireEqual(what: string, wanted: unknown, found: unknown): void {
  if (isDeepStrictEqual(wanted, found)) return;
  const [a, b] = [wanted, found] as Record<string, unknown>[];
  const key =
    typeof wanted === 'object' ? Object.keys({ ...a, ...b }).find((name) => !isDeepStrictEqual(a[name], b[name])) : '';
  throw new BitnetError(`the ${what} ${key} of this model would not survive the conversion`, { hint: HINT });
}

/** A value with all its numbers rounded to float32. */
function rounded(value: unknown): unknown {
  if (typeof value === 'number') return Math.fround(value);
  if (Array.isArray(value)) return value.map(rounded);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, rounded(member)]));
}

const HINT = 'nothing was written; convert to the other format, and please report it';

function fault(name: string, what: string): BitnetError {
  return new BitnetError(`reading the result back, tensor ${name} ${what}`, { hint: HINT });
}
