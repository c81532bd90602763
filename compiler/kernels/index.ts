import { BitnetError } from '../../errors.ts';
import { bitlinearI2Gemm, bitlinearI2Gemv, i2 } from './bitlinear-i2.ts';
import { bitlinearI2ColumnsGemm, bitlinearI2ColumnsGemv, i2Columns } from './bitlinear-i2-columns.ts';
import { bitlinearI2RowsGemm, bitlinearI2RowsGemv, i2Rows } from './bitlinear-i2-rows.ts';
import { t16 } from './bitlinear-t16.ts';
import { texel } from './bitlinear-texel.ts';
import { bitlinearTl1Gemm, bitlinearTl1Gemv, tl1 } from './bitlinear-tl1.ts';
import { bitlinearTl2Gemm, bitlinearTl2Gemv, tl2 } from './bitlinear-tl2.ts';
import type { Layout } from './layout.ts';
import type { KernelFamily } from './spec.ts';

/** Every kernel family, in order of preference. Selection, tests and benches take theirs from here. */
export const families: readonly KernelFamily[] = [
  bitlinearI2Gemv,
  bitlinearI2Gemm,
  bitlinearI2RowsGemv,
  bitlinearI2RowsGemm,
  bitlinearI2ColumnsGemv,
  bitlinearI2ColumnsGemm,
  bitlinearTl1Gemv,
  bitlinearTl1Gemm,
  bitlinearTl2Gemv,
  bitlinearTl2Gemm,
];

/** What `--kernel` may ask for: the layouts by their short names. */
export const LAYOUTS = { i2, tl1, tl2 } as const;

/** Those of matrices that are read in part: rows that meet a zero afterwards, columns that meet one, are skipped. */
export const SKIPPING = { rows: i2Rows, columns: i2Columns } as const;

/** A kind of ternary kernel, named for the way it reads weights. */
export type KernelKind = keyof typeof LAYOUTS;

/** The packing of that id; throws a BitnetError where there is none. */
export function layoutOf(id: string): Layout {
  const found = [...Object.values(LAYOUTS), ...Object.values(SKIPPING), t16, texel].find((layout) => layout.id === id);
  if (!found) throw new BitnetError(`no kernel family knows the weight layout '${id}'`);
  return found;
}
