import { BitnetError } from '../../errors.ts';

/** What identifies a kernel: what it computes, how it is tiled, and the machine it is for. */
export interface KernelName {
  /** `bitlinear_i2` */
  readonly family: string;
  readonly m: number;
  readonly k: number;
  /** One token: a GEMV. */
  readonly tile: Tile;
  readonly target: string;
}

export interface Tile {
  /** Rows computed before the next ones are begun. */
  readonly rows: number;
  /** Columns summed before the running sums are widened: the whole padded K where they need no widening. */
  readonly columns: number;
  /** Of these rows, those held in registers at once; all of them where it is left out. */
  readonly held?: number;
  /** Tokens held in registers at once. */
  readonly tokens: number;
  /** Of a GPU: how a thread block computes it. */
  readonly block?: {
    readonly warps: number;
    /** What shares K: of one token the warps of sixteen rows, of a few the thread blocks of a cluster. */
    readonly split: number;
    /** Tiles of K that are under way at once. */
    readonly stages: number;
  };
}

/** Writes a tile as rows x columns x tokens, or as rows x columns x held x tokens; of a GPU with `w8s4n5` behind it. */
export function formatTile({ rows, columns, held, tokens, block }: Tile): string {
  const sizes = [rows, columns, ...(held === undefined ? [] : [held]), tokens].join('x');
  return block === undefined ? sizes : `${sizes}w${block.warps}s${block.split}n${block.stages}`;
}

/**
 * Writes a kernel's name: the maths before `__`, the machine after, as
 * `bn_bitlinear_i2_gemm_m2560k6912_t32x6912x12__x86_avx512vnni`.
 * It is the file's stem, the C symbol, the manifest's key, the test's title and the bench's row.
 */
export function formatName({ family, m, k, tile, target }: KernelName): string {
  return `bn_${family}_m${m}k${k}_t${formatTile(tile)}__${target.replaceAll('-', '_')}`;
}

const PATTERN =
  /^bn_(?<family>[a-z0-9_]+)_m(?<m>\d+)k(?<k>\d+)_t(?<rows>\d+)x(?<columns>\d+)(x(?<held>\d+))?x(?<tokens>\d+)(w(?<warps>\d+)s(?<split>\d+)n(?<stages>\d+))?__(?<target>\w+)$/;

/** Reads a kernel's name; `targets` are the ids to match the machine part with. Throws a BitnetError on any other text. */
export function parseName(name: string, targets: readonly string[]): KernelName {
  const groups = PATTERN.exec(name)?.groups;
  const target = targets.find((id) => id.replaceAll('-', '_') === groups?.target);
  if (!groups || !target) throw new BitnetError(`'${name}' is not the name of a kernel`);
  const tile = {
    rows: Number(groups.rows),
    columns: Number(groups.columns),
    ...(groups.held === undefined ? {} : { held: Number(groups.held) }),
    tokens: Number(groups.tokens),
    ...(groups.warps === undefined
      ? {}
      : {
          block: { warps: Number(groups.warps), split: Number(groups.split), stages: Number(groups.stages) },
        }),
  };
  return { family: groups.family, m: Number(groups.m), k: Number(groups.k), tile, target };
}
