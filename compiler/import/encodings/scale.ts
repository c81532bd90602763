import { FLOAT16, toFloat16 } from '../../../artifact/encodings/float16.ts';
import { BitnetError } from '../../../errors.ts';

const HINT =
  'The file is damaged, or it is not a BitNet model: ternary weights are -1, 0 or 1 times one absmean scale per tensor.';

/** `scale`, found at byte `at` of its tensor if it was in there, if it is zero or positive and finite. */
export function checkedScale(scale: number, at?: number): number {
  if (scale >= 0 && scale < Number.POSITIVE_INFINITY) return scale;
  const place = at === undefined ? 'of' : `at byte ${at} of`;
  throw new BitnetError(`the weight scale ${place} the tensor is ${scale}`, { hint: HINT });
}

/** Refuses a number of values (or rows) that is no multiple of a block's. */
export function wholeBlocks(encoding: string, count: number, block: number, what = 'values'): void {
  if (count % block === 0) return;
  throw new BitnetError(`${count} ${what} do not fill whole ${encoding} blocks of ${block}`);
}

/** `scale`, if a float32 holds it exactly. */
export function exactFloat32(encoding: string, scale: number): number {
  if (Math.fround(scale) === scale) return scale;
  throw new BitnetError(`${encoding} stores its scale as float32, which cannot hold ${scale} exactly`);
}

/** The bits of `scale`, if a float16 holds it exactly. */
export function exactFloat16(encoding: string, scale: number): number {
  const bits = toFloat16(scale);
  if (FLOAT16[bits] === scale) return bits;
  throw new BitnetError(`${encoding} stores its scale as float16, which cannot hold ${scale} exactly`, {
    hint: 'Types that store it as float32 can: i2_s, tl1, tl2.',
  });
}

/** Refuses the tensor, and says where its first code is that stands for no weight. */
export function refuseCodeThree(codes: Uint8Array): never {
  throw new BitnetError(`weight ${codes.indexOf(3)} of the tensor has the code 3, which is not ternary`, {
    hint: HINT,
  });
}

/**
 * The scale that all runs of `run` weights of a tensor share: blocks, or rows.
 * A run may instead have the scale zero: its weights are then all zero whatever its codes say, and the codes are made
 * to say so. `place` is the byte of a run's scale in the tensor.
 */
export function commonScale(
  codes: Uint8Array,
  run: number,
  what: 'block' | 'row',
  scaleOf: (index: number) => number,
  place: (index: number) => number,
): number {
  let common = 0;
  for (let i = 0; i * run < codes.length; i++) {
    const scale = scaleOf(i);
    if (scale === common && scale !== 0) continue;
    checkedScale(scale, place(i));
    if (scale === 0) codes.fill(1, i * run, (i + 1) * run);
    else if (common === 0) common = scale;
    else {
      throw new BitnetError(
        `${what} ${i} of the tensor has the scale ${scale}, ${what}s before it ${common}: not one absmean scale`,
        { hint: HINT },
      );
    }
  }
  return common;
}
