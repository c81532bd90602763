import { BitnetError } from '../../../errors.ts';

const HINT =
  'The file is damaged, or it is not a BitNet model: ternary weights are -1, 0 or 1 times one absmean scale per tensor.';

/** `scale`, found at byte `at` of its tensor, if it is zero or positive and finite. */
export function checkedScale(scale: number, at: number): number {
  if (scale >= 0 && scale < Number.POSITIVE_INFINITY) return scale;
  throw new BitnetError(`the weight scale at byte ${at} of the tensor is ${scale}`, { hint: HINT });
}

/** Refuses the tensor, and says where its first code is that stands for no weight. */
export function refuseCodeThree(codes: Uint8Array): never {
  throw new BitnetError(`weight ${codes.indexOf(3)} of the tensor has the code 3, which is not ternary`, {
    hint: HINT,
  });
}

/**
 * The scale that all blocks of a tensor share.
 * A block may instead have the scale zero: its weights are then all zero, and its codes are made to say so.
 */
export function commonScale(
  codes: Uint8Array,
  blockValues: number,
  blockBytes: number,
  scaleOf: (block: number) => number,
): number {
  let common = 0;
  for (let block = 0; block * blockValues < codes.length; block++) {
    const scale = checkedScale(scaleOf(block), (block + 1) * blockBytes - 2);
    if (scale === 0) codes.fill(1, block * blockValues, (block + 1) * blockValues);
    else if (common === 0) common = scale;
    else if (scale !== common) {
      throw new BitnetError(
        `block ${block} of the tensor has the scale ${scale}, blocks before it ${common}: not one absmean scale`,
        { hint: HINT },
      );
    }
  }
  return common;
}
