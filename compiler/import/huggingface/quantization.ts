import type { Fields } from './fields.ts';

/**
 * How a checkpoint's `weight_scale` tensors are meant.
 *
 * transformers has two linear layers for `quant_method: bitnet` (integrations/bitnet.py). `BitLinear`, which is the
 * default, divides: `post_quant_process` returns y / (input_scale · weight_scale), so the weights' scale is
 * 1 / weight_scale. `AutoBitLinear` (`linear_class: autobitlinear`) multiplies: its forward returns
 * output · weight_scale. In its `online` mode there is no weight_scale, but float masters that are quantised by absmean
 * each time.
 */
export type WeightScale = 'divides' | 'multiplies' | 'absent';

/**
 * Whether the configuration says that the float weights of linear layers are masters of ternary ones, so that their
 * values need not show it: by `quant_method: bitnet`, or by `weight_bits: 1` as 1bitLLM's models have it.
 */
export function holdsMasters(config: Fields): boolean {
  return (
    config.has('quantization_config') ||
    (config.has('weight_bits') && config.integer('weight_bits', { min: 1, max: 64 }) === 1)
  );
}

/** Modules whose weights stay real numbers, by the name or its beginning or end: `modules_to_not_convert`. */
export function readUnquantised(config: Fields): readonly string[] {
  const quantization = config.object('quantization_config');
  const modules = quantization?.list('modules_to_not_convert') ?? [];
  return modules.filter((name): name is string => typeof name === 'string' && name !== '');
}

/** Reads `quantization_config`, undefined where there is none. Throws BitnetError for what we do not compute. */
export function readQuantization(config: Fields): WeightScale {
  const quantization = config.object('quantization_config');
  if (quantization === undefined) return 'absent';
  const method = quantization.text('quant_method');
  if (method !== 'bitnet') {
    throw quantization.fault('quant_method', `is "${method}", which is not supported`, 'Supported is bitnet.');
  }
  if (quantization.boolean('use_rms_norm', false)) {
    throw quantization.fault('use_rms_norm', 'is true: norms inside the linear layers are not supported');
  }
  const linear = oneOf(quantization, 'linear_class', ['bitlinear', 'autobitlinear']);
  const mode = oneOf(quantization, 'quantization_mode', ['offline', 'online']);
  if (linear === 'bitlinear') return 'divides';
  return mode === 'offline' ? 'multiplies' : 'absent';
}

/** The first of `values` is the default. */
function oneOf(fields: Fields, key: string, values: readonly [string, ...string[]]): string {
  const value = fields.text(key, values[0]);
  if (values.includes(value)) return value;
  throw fields.fault(key, `is "${value}", which is not supported`, `Supported are ${values.join(' and ')}.`);
}
