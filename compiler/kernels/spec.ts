import { BitnetError } from '../../errors.ts';
import type { Target } from '../../targets/target.ts';
import { formatTile, type Tile } from './name.ts';

/** What a kernel computes, apart from how: one ternary matrix shape. */
export interface KernelShape {
  /** Rows, a multiple of 16: padding between fused parts is included. */
  readonly m: number;
  readonly k: number;
}

/** A kernel to render: what and how. */
export interface KernelSpec extends KernelShape {
  readonly name: string;
  readonly family: string;
  readonly tile: Tile;
  /** Why this kernel and tile: `heuristic`, that it was asked for, or the section of the .ini. */
  readonly reason: string;
}

/** A spec that a family cannot meet exactly. The only error that may fall back to another kernel. */
export class UnsupportedSpecError extends BitnetError {
  override readonly name = 'UnsupportedSpecError';
}

/** The error for a spec that a family cannot meet, and why. */
export function refusal(family: string, { m, k }: KernelShape, tile: Tile, why: string): UnsupportedSpecError {
  return new UnsupportedSpecError(`${family} m=${m} k=${k} t=${formatTile(tile)}: ${why}`);
}

/** The most tokens of a step that reads a matrix in part. */
export const FEW_TOKENS = 16;

/** A family of ternary kernels: what it computes, its limits and its tiles. Adding a family is adding a file. */
export interface KernelFamily {
  /** `bitlinear_i2_gemv`: the stem of its template too. */
  readonly id: string;
  /** Tokens it takes: a GEMV one, or a few if it has a `most`, a GEMM any number. */
  readonly takes: 'one' | 'many';
  /** Tokens that a GEMV takes at most, where that is more than one. */
  readonly most?: number;
  /** Which packing of the weights it reads. */
  readonly layout: string;
  /** Throws UnsupportedSpecError where the shape and tile cannot be computed exactly on the target. */
  check(shape: KernelShape, tile: Tile, target: Target): void;
  /** The tile to use when nobody asked for another. */
  defaultTile(shape: KernelShape, target: Target): Tile;
  /** Tiles that may be worth trying on the target, the default one not among them: those that `check` refuses are left out. */
  tiles(shape: KernelShape, target: Target): Tile[];
  /** Bytes of scratch a thread needs. */
  scratchBytes(shape: KernelShape, tile: Tile): number;
}
