import { BitnetError } from '../../../errors.ts';
import { checkedScale, refuseCodeThree } from './scale.ts';
import type { TernaryEncoding } from './ternary.ts';

/**
 * The packed weights of Hugging Face checkpoints with `quant_method: bitnet`: uint8 of [rows / 4, cols], rounded up.
 * Byte (r, c) holds column c of rows r, r + rows / 4, r + 2 rows / 4, r + 3 rows / 4 at bits 0, 2, 4, 6. The scale is
 * a tensor of its own (`TensorIR.scale`).
 */
export const hf_u8: TernaryEncoding = {
  bytes(rows, cols) {
    return Math.ceil(rows / 4) * cols;
  },
  decode(bytes, codes, { rows, cols, scale }) {
    if (scale === undefined) throw new BitnetError('packed weights come without their weight_scale');
    const quarter = Math.ceil(rows / 4) * cols;
    let threes = 0;
    for (let part = 0; part < 4; part++) {
      const to = part * quarter;
      const count = Math.min(quarter, codes.length - to);
      for (let i = 0; i < count; i++) {
        const code = (bytes[i]! >> (2 * part)) & 3;
        threes |= code & (code >> 1);
        codes[to + i] = code;
      }
    }
    if (threes) refuseCodeThree(codes);
    return checkedScale(scale);
  },
  encode(codes, _, { rows, cols }, bytes) {
    const quarter = Math.ceil(rows / 4) * cols;
    for (let part = 0; part < 4; part++) {
      const from = part * quarter;
      const count = Math.min(quarter, codes.length - from);
      for (let i = 0; i < count; i++) bytes[i]! |= codes[from + i]! << (2 * part);
    }
  },
};
