import type { AttentionWindow, Hyper, Pooling } from '../../ir/model.ts';
import type { Architecture } from '../../models/index.ts';
import type { Keys } from './keys.ts';

/** Values of `<architecture>.pooling_type`; 0 is none. */
const POOLING: readonly (Pooling | null)[] = [null, 'mean', 'cls', 'last'];

/**
 * What a file says of its attention beyond the number of heads: the scale of its scores, and the window of local layers,
 * for an architecture that has them. A file without a window has no local layers: so have llama.cpp's converters it, and
 * BitNet's embedding models.
 */
export function importAttention(
  keys: Keys,
  architecture: Architecture,
  layers: number,
): Pick<Hyper, 'attentionScale' | 'window'> {
  const key = (name: string) => `${architecture.id}.${name}`;
  for (const name of ['attn_logit_softcapping', 'final_logit_softcapping'].map(key)) {
    if (keys.has(name) && keys.number(name) !== 0)
      throw keys.fault(name, 'asks for soft capping, which is not supported');
  }
  const window = architecture.window && importWindow(keys, key, architecture.window, layers);
  return {
    ...(keys.has(key('attention.scale')) && { attentionScale: keys.positive(key('attention.scale')) }),
    ...(window && { window }),
  };
}

function importWindow(
  keys: Keys,
  key: (name: string) => string,
  { period, ropeBase }: NonNullable<Architecture['window']>,
  layers: number,
): AttentionWindow | undefined {
  const positions = keys.integer(key('attention.sliding_window'), { min: 0, max: 2 ** 28 }, 0);
  if (positions === 0) return undefined;
  const local = importLocal(keys, key('attention.sliding_window_pattern'), period, layers);
  if (!local.includes(true)) return undefined;
  return { positions, local, ropeBase: keys.positive(key('rope.freq_base_swa'), ropeBase) };
}

/** Which layers are local: a list of booleans, or after how many layers there is one that is not. */
function importLocal(keys: Keys, key: string, period: number, layers: number): boolean[] {
  if (keys.isList(key)) {
    const list = keys.booleans(key);
    if (list.length !== layers) throw keys.fault(key, `has ${list.length} entries for ${layers} layers`);
    return [...list];
  }
  const every = keys.integer(key, { min: 0, max: 2 ** 16 }, period);
  return Array.from({ length: layers }, (_, layer) => every === 0 || layer % every < every - 1);
}

/**
 * How an embedding model's file says that hidden states become one vector. Microsoft's converter of BitNet's embedding
 * models writes `mean` for want of a setting, where their guide says the last token: the file is believed all the same.
 */
export function importPooling(keys: Keys, architecture: string): Pooling | null {
  return POOLING[keys.integer(`${architecture}.pooling_type`, { min: 0, max: POOLING.length - 1 }, 0)]!;
}
