import type { Hyper } from '../ir/model.ts';

/** Radians a position for each rotating pair (RoFormer), with the model's rope scaling worked in. */
export function ropeFrequencies({ rope }: Pick<Hyper, 'rope'>): number[] {
  const { dimensions, base, scaling } = rope;
  return Array.from({ length: dimensions / 2 }, (_, pair) => {
    const frequency = base ** ((-2 * pair) / dimensions);
    if (scaling.kind === 'linear') return frequency / scaling.factor;
    if (scaling.kind === 'factors') return frequency / scaling.factors[pair];
    return frequency;
  });
}

/** Those of layers that attend to a window; null where there are none. */
export function localFrequencies({ rope, window }: Hyper): number[] | null {
  if (window === undefined) return null;
  return ropeFrequencies({ rope: { ...rope, base: window.ropeBase, scaling: { kind: 'none' } } });
}
