import type { AttentionWindow, Hyper, RopeScaling } from '../../ir/model.ts';
import { llama3Factors } from '../gguf/rope.ts';
import { type Fields, show } from './fields.ts';

/** Of transformers' LlamaConfig, from before configurations had `rope_theta`. */
const LLAMA_BASE = 10000;
/** Of Gemma3TextConfig. */
const LOCAL_BASE = 10000;

/**
 * Rotary embedding: `rope_theta` and `rope_scaling`, or both in `rope_parameters` since transformers 5.
 * Hugging Face's checkpoints rotate the two halves of a head with one another.
 * Throws BitnetError for a scaling that we do not compute, by its name.
 */
export function readRope(config: Fields, headDim: number): Hyper['rope'] {
  const parameters = ropeParameters(config, 'full_attention');
  const scaling = parameters ?? config.object('rope_scaling');
  const base = parameters?.has('rope_theta')
    ? parameters.positive('rope_theta')
    : config.positive('rope_theta', config.text('model_type', '') === 'llama' ? LLAMA_BASE : undefined);
  const share = (parameters?.has('partial_rotary_factor') ? parameters : config).positive('partial_rotary_factor', 1);
  const dimensions = Math.trunc(headDim * share);
  if (share > 1 || dimensions < 2 || dimensions % 2 !== 0) {
    throw config.fault('partial_rotary_factor', `is ${share}: it would rotate ${dimensions} of ${headDim} dimensions`);
  }
  return {
    dimensions,
    base,
    pairs: 'half',
    scaling: scaling ? readScaling(scaling, dimensions, base) : { kind: 'none' },
  };
}

/** What transformers 5 keeps for layers of a kind, or for all of them. */
function ropeParameters(config: Fields, kind: 'full_attention' | 'sliding_attention'): Fields | undefined {
  const parameters = config.object('rope_parameters');
  return parameters?.object(kind) ?? parameters;
}

/**
 * Which layers attend to the latest positions only: `layer_types`, or all but every sixth as Gemma 3 has it. Other
 * architectures than Gemma (`local` false) have no such layers.
 */
export function readWindow(config: Fields, layers: number, local: boolean): AttentionWindow | undefined {
  const types = config.list('layer_types');
  const odd = types.find((type) => type !== 'full_attention' && !(local && type === 'sliding_attention'));
  if (odd !== undefined) throw config.fault('layer_types', `has ${show(odd)}, which is not supported`);
  if (types.length !== 0 && types.length !== layers) {
    throw config.fault('layer_types', `has ${types.length} entries for ${layers} layers`);
  }
  if (!local || !config.has('sliding_window')) return undefined;
  const period = config.integer('sliding_window_pattern', { min: 1, max: 4096 }, 6);
  const isLocal = (layer: number) =>
    types.length === 0 ? (layer + 1) % period !== 0 : types[layer] === 'sliding_attention';
  const own = ropeParameters(config, 'sliding_attention');
  return {
    positions: config.integer('sliding_window', { min: 1, max: 2 ** 28 }),
    local: Array.from({ length: layers }, (_, layer) => isLocal(layer)),
    ropeBase: own?.has('rope_theta') ? own.positive('rope_theta') : config.positive('rope_local_base_freq', LOCAL_BASE),
  };
}

function readScaling(scaling: Fields, dimensions: number, base: number): RopeScaling {
  const key = scaling.has('rope_type') ? 'rope_type' : 'type';
  const kind = scaling.text(key, 'default');
  if (kind === 'default') return { kind: 'none' };
  if (kind === 'linear') {
    const factor = scaling.positive('factor');
    return factor === 1 ? { kind: 'none' } : { kind: 'linear', factor };
  }
  if (kind === 'llama3') {
    const factors = llama3Factors(dimensions, base, {
      factor: scaling.positive('factor'),
      low: scaling.positive('low_freq_factor'),
      high: scaling.positive('high_freq_factor'),
      context: scaling.positive('original_max_position_embeddings'),
    });
    return { kind: 'factors', factors };
  }
  throw scaling.fault(key, `is "${kind}", which is not supported`, 'Supported are default, linear and llama3.');
}
