import { BitnetError } from '../../../errors.ts';
import type { FloatEncodingName, Hyper, TensorIR } from '../../ir/model.ts';
import { layerLinears } from '../../ir/verify.ts';
import { encodedBytes, FLOAT } from '../encodings/index.ts';
import { withFile } from '../file.ts';
import type { Dtype } from '../safetensors/dtypes.ts';
import type { Safetensors, SafetensorsTensor } from '../safetensors/reader.ts';
import { ggufName, normShift } from './names.ts';
import type { WeightScale } from './quantization.ts';

/** What a checkpoint's tensors are to be taken as. */
export interface Meaning {
  readonly architecture: string;
  readonly hyper: Hyper;
  readonly weightScale: WeightScale;
  /** Modules that are computed with real numbers. */
  readonly unquantised: readonly string[];
  /** The head is the embedding table: a copy of it that was saved too does not matter. */
  readonly tied: boolean;
  /** Whether float weights must show that they are masters of ternary ones, or are quantised as they are. */
  readonly quantise: 'near' | 'any';
}

const FLOATS: Readonly<Partial<Record<Dtype, FloatEncodingName>>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };

/** Tensors of constants that follow from the configuration. */
const CONSTANTS = /\.(?:rotary_emb\.inv_freq|attention\.bias|attention\.masked_bias)$/;

interface Entry {
  readonly tensor: SafetensorsTensor;
  readonly file: number;
}

/**
 * The tensors of a checkpoint under their GGUF names: packed ternary weights as `hf_u8`, four rows in one, float
 * masters of ternary weights to be quantised, both with the scale that their `weight_scale` stands for.
 * Throws BitnetError for a tensor that is unknown, of a type or shape that it cannot have, or there twice.
 */
export async function importTensors(shards: readonly Safetensors[], meaning: Meaning): Promise<TensorIR[]> {
  const found = new Map<string, Entry>();
  for (const [file, shard] of shards.entries()) {
    for (const tensor of shard.tensors) {
      const name = knownName(tensor, shard, meaning);
      if (name === undefined) continue;
      if (found.has(name)) throw fault(tensor, shard, 'is there twice');
      found.set(name, { tensor, file });
    }
  }
  const scales = await readScales(shards, found, meaning.weightScale);
  const rows = new Map(layerLinears(meaning).map((linear) => [`${linear.name}.weight`, linear.rows]));
  const tensors: TensorIR[] = [];
  for (const [name, { tensor, file }] of found) {
    if (name.endsWith('.scale')) continue;
    const place = { name, file, offset: tensor.offset, bytes: tensor.bytes };
    const linearRows = rows.get(name.replace(/^blk\.\d+\./, ''));
    const scale = scales.get(name);
    if (linearRows === undefined) {
      const encoding = floatOf(tensor, shards[file]!);
      const add = normShift(meaning.architecture, name);
      tensors.push({ ...place, shape: tensor.shape, encoding, ...(add !== 0 && { add }) });
    } else if (tensor.dtype === 'U8') {
      if (scale === undefined) throw fault(tensor, shards[file]!, 'is packed, but has no weight_scale');
      tensors.push({ ...place, ...packed(tensor, shards[file]!, linearRows), scale });
    } else {
      const encoding = floatOf(tensor, shards[file]!);
      if (isUnquantised(tensor, meaning)) {
        throw fault(tensor, shards[file]!, 'is of a module that stays real numbers: modules_to_not_convert names it');
      }
      tensors.push({
        ...place,
        shape: tensor.shape,
        encoding,
        quantise: meaning.quantise,
        ...(scale !== undefined && { scale }),
      });
    }
  }
  return tensors;
}

/** The GGUF name, or undefined if the tensor does not matter. */
function knownName(tensor: SafetensorsTensor, shard: Safetensors, { architecture, tied }: Meaning): string | undefined {
  if (CONSTANTS.test(tensor.name)) return undefined;
  if (tensor.name.endsWith('.bias')) throw fault(tensor, shard, 'is a bias: biases are not supported');
  const name = ggufName(architecture, tensor.name);
  if (name === undefined) {
    throw new BitnetError(`${shard.file}: the tensor ${tensor.name} is not part of architecture '${architecture}'`, {
      hint: 'the model computes something this compiler would leave out; it is refused rather than run wrong',
    });
  }
  return tied && name === 'output.weight' ? undefined : name;
}

function floatOf(tensor: SafetensorsTensor, shard: Safetensors): FloatEncodingName {
  const encoding = FLOATS[tensor.dtype];
  if (encoding !== undefined) return encoding;
  throw fault(
    tensor,
    shard,
    `has the type ${tensor.dtype}, which is not supported`,
    'Supported are F32, F16 and BF16.',
  );
}

function isUnquantised({ name }: SafetensorsTensor, { unquantised }: Meaning): boolean {
  const module = `.${name.replace(/\.weight$/, '')}.`;
  return unquantised.some((part) => module.startsWith(`.${part}.`) || module.endsWith(`.${part}.`));
}

/** Shape and encoding of packed weights: byte [r, c] holds the rows r, r + n, r + 2n and r + 3n, n being rows / 4. */
function packed(tensor: SafetensorsTensor, shard: Safetensors, rows: number): Pick<TensorIR, 'shape' | 'encoding'> {
  const [packedRows, cols] = tensor.shape;
  if (tensor.shape.length !== 2 || packedRows !== Math.ceil(rows / 4)) {
    throw fault(tensor, shard, `has the shape [${tensor.shape.join(' × ')}], not a quarter of ${rows} rows`);
  }
  const shape = [rows, cols!];
  if (encodedBytes('hf_u8', shape) !== tensor.bytes) throw fault(tensor, shard, 'has another size than its weights');
  return { shape, encoding: 'hf_u8' };
}

/** The scale of each weight that has a weight_scale, by the weight's name. */
async function readScales(
  shards: readonly Safetensors[],
  found: ReadonlyMap<string, Entry>,
  weightScale: WeightScale,
): Promise<Map<string, number>> {
  const scales = new Map<string, number>();
  for (const [file, shard] of shards.entries()) {
    const entries = [...found].filter(([name, entry]) => entry.file === file && name.endsWith('.scale'));
    if (entries.length === 0) continue;
    if (weightScale === 'absent') {
      throw fault(
        entries[0]![1].tensor,
        shard,
        'is there, but config.json does not say whether it multiplies or divides',
      );
    }
    await withFile(shard.file, async (handle) => {
      for (const [name, { tensor }] of entries) {
        const encoding = FLOAT[floatOf(tensor, shard)];
        if (tensor.bytes !== encoding.blockBytes) throw fault(tensor, shard, 'is not a single value');
        const bytes = Buffer.alloc(tensor.bytes);
        await handle.read(bytes, 0, bytes.length, tensor.offset);
        const value = new Float32Array(1);
        encoding.decode(bytes, value);
        const scale = weightScale === 'divides' ? Math.fround(1 / value[0]!) : value[0]!;
        if (!(scale > 0 && scale < Number.POSITIVE_INFINITY)) {
          throw fault(tensor, shard, `is ${value[0]}, which is no scale`);
        }
        scales.set(name.replace(/scale$/, 'weight'), scale);
      }
    });
  }
  return scales;
}

function fault({ name }: SafetensorsTensor, { file }: Safetensors, problem: string, hint?: string): BitnetError {
  return new BitnetError(`${file}: the tensor ${name} ${problem}`, hint === undefined ? {} : { hint });
}
