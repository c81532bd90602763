import { BitnetError } from '../../../errors.ts';
import type { RopeScaling } from '../../ir/model.ts';
import { FLOAT } from '../encodings/index.ts';
import { withFile } from '../file.ts';
import type { Keys } from './keys.ts';
import type { Gguf, GgufTensor } from './reader.ts';

/** The tensor of Llama 3's frequency factors, as converters of Hugging Face models write it. */
export const ROPE_FACTORS = 'rope_freqs.weight';

/**
 * How the file scales rotary frequencies. Factors in a tensor of their own come first, then the keys
 * `rope.scaling.*`; a linear scaling by 1 is none. Other kinds (YaRN, LongRoPE, dynamic) are refused.
 */
export async function importRopeScaling(
  gguf: Gguf,
  keys: Keys,
  prefix: string,
  rope: { readonly dimensions: number; readonly base: number },
): Promise<RopeScaling> {
  const tensor = gguf.tensors.find(({ name }) => name === ROPE_FACTORS);
  if (tensor !== undefined) return { kind: 'factors', factors: await readFactors(gguf, tensor, rope.dimensions) };

  const key = `${prefix}.rope.scaling`;
  const kind = keys.text(`${key}.type`, 'linear');
  if (kind === 'none') return { kind: 'none' };
  if (kind === 'linear') {
    // Files from before the `rope.scaling` keys have the factor under another name.
    const factor = keys.positive(`${key}.factor`, keys.positive(`${prefix}.rope.scale_linear`, 1));
    return factor === 1 ? { kind: 'none' } : { kind: 'linear', factor };
  }
  if (kind === 'llama3') {
    const factors = llama3Factors(rope.dimensions, rope.base, {
      factor: keys.positive(`${key}.factor`),
      low: keys.positive(`${key}.low_freq_factor`),
      high: keys.positive(`${key}.high_freq_factor`),
      context: keys.positive(`${key}.original_context_length`),
    });
    return { kind: 'factors', factors };
  }
  throw keys.fault(`${key}.type`, `is "${kind}", which is not supported`, 'Supported are none, linear and llama3.');
}

/**
 * Llama 3.1's rule: what each rotary frequency is divided by. Wavelengths up to `context / high` stay, those from
 * `context / low` on are divided by `factor`, and between them it passes smoothly from one to the other.
 */
export function llama3Factors(
  dimensions: number,
  base: number,
  scaling: { readonly factor: number; readonly low: number; readonly high: number; readonly context: number },
): number[] {
  const { factor, low, high, context } = scaling;
  return Array.from({ length: dimensions / 2 }, (_, i) => {
    const turns = context / (2 * Math.PI * base ** ((2 * i) / dimensions));
    if (turns >= high) return 1;
    if (turns <= low) return factor;
    const kept = (turns - low) / (high - low);
    return 1 / ((1 - kept) / factor + kept);
  });
}

async function readFactors(gguf: Gguf, tensor: GgufTensor, dimensions: number): Promise<number[]> {
  const values = dimensions / 2;
  if (tensor.typeName !== 'F32' || tensor.shape.length !== 1 || tensor.shape[0] !== values) {
    throw new BitnetError(
      `${gguf.file}: the tensor ${ROPE_FACTORS} is ${tensor.typeName} of ${tensor.shape.join(' × ')} values, not F32 of ${values}`,
    );
  }
  const bytes = Buffer.alloc(values * 4);
  await withFile(gguf.file, (handle) => handle.read(bytes, 0, bytes.length, tensor.offset));
  if (gguf.byteOrder === 'big') FLOAT.f32.swapBytes(bytes);
  const factors = new Float32Array(values);
  FLOAT.f32.decode(bytes, factors);
  const bad = factors.findIndex((factor) => !(factor > 0 && factor < Number.POSITIVE_INFINITY));
  if (bad >= 0) {
    throw new BitnetError(`${gguf.file}: value ${bad} of the tensor ${ROPE_FACTORS} is ${factors[bad]}, not positive`);
  }
  return [...factors];
}
