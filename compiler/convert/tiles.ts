import { BitnetError } from '../../errors.ts';
import { encodedBytes } from '../import/encodings/index.ts';
import type { TableTile, TensorIR } from '../ir/model.ts';
import { type KernelConfig, type KernelSection, sectionFor } from '../kernels/config.ts';

type TableEncoding = 'tl1' | 'tl2';

/** Columns of a tile: what bitnet.cpp's own configurations have comes first. */
const COLUMNS: Readonly<Record<TableEncoding, readonly number[]>> = { tl1: [128, 64, 32], tl2: [96, 192, 48, 24] };
const ROWS_AT_ONCE: readonly number[] = [32, 64];
/** The most rows of a tile, as in bitnet.cpp's own configurations. */
const MAX_ROWS = 320;

/** The tile of a shape in a configuration. */
export function tileOf(config: KernelConfig, shape: readonly number[]): TableTile | undefined {
  return sectionFor(config, shape[0], shape[1]);
}

/** The first tile that a matrix of that shape can be laid out by: as many rows as can be. Undefined where none fits. */
export function chooseTile(encoding: TableEncoding, shape: readonly number[]): TableTile | undefined {
  const [rows] = shape;
  for (const bm of ROWS_AT_ONCE) {
    for (const BK of COLUMNS[encoding]) {
      for (let BM = MAX_ROWS - (MAX_ROWS % bm); BM > 0; BM -= bm) {
        if (rows % BM === 0 && isLaidOut(encoding, shape, { BM, BK, bm })) return { BM, BK, bm };
      }
    }
  }
  return undefined;
}

function isLaidOut(encoding: TableEncoding, shape: readonly number[], tile: TableTile): boolean {
  try {
    encodedBytes(encoding, shape, tile);
    return true;
  } catch (error) {
    if (error instanceof BitnetError) return false;
    throw error;
  }
}

/**
 * The tiles that matrices are laid out by: those of `config`, which must have one for each shape, or chosen ones.
 * Throws a BitnetError that names the first matrix without one.
 */
export function tilesOf(
  encoding: TableEncoding,
  matrices: Iterable<TensorIR>,
  config: KernelConfig | undefined,
): KernelConfig {
  const sections = new Map<string, KernelSection>();
  for (const { name, shape } of matrices) {
    const [m, k] = shape;
    if (sections.has(`${m} × ${k}`)) continue;
    const tile = config ? sectionFor(config, m, k) : chooseTile(encoding, shape);
    if (tile === undefined) {
      const what = config ? `${config.file} has no section for` : `no tile of ${encoding} fits`;
      throw new BitnetError(`tensor ${name}: ${what} its ${m} × ${k} weights`, {
        hint: config ? `add a section with m = ${m} and k = ${k}` : 'i2_s holds a matrix of any shape',
      });
    }
    sections.set(`${m} × ${k}`, { name: `Kernels_${sections.size}`, line: 1, m, k, ...tile });
  }
  return { file: config?.file ?? 'the chosen tiles', sections: [...sections.values()] };
}
