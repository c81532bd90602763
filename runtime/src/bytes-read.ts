import type { Manifest } from '../../artifact/manifest.ts';
import type { NativeCounts } from './addon.ts';

/** What steps of few tokens made of the weights: of one, or of one for each of few sequences. */
export interface Reading {
  /** Bytes of weights that such a step read, on average; where none was counted, what one of one token reads that skips nothing. */
  readonly bytesPerToken: number;
  /** Of the gated hidden values, the share that was zero for all its tokens as `down` met them; 0 where nobody looked. */
  readonly zeros: number;
  /** How many of them read only a coarse copy of the head, and of the head the rows that might matter. */
  readonly screenedTokens: number;
  /** How many such rows, on average. */
  readonly rowsPerScreenedToken: number;
}

/** Bytes read, from what was counted: the one place that knows what a skipped row, column or head spares. */
export function readingOf(
  { bytesPerToken, skips, model }: Pick<Manifest, 'bytesPerToken' | 'skips' | 'model'>,
  { steps, zeros, zeroColumns, screened, rows, screenBytes, headBytes }: NativeCounts,
): Reading {
  const head = { screenedTokens: screened, rowsPerScreenedToken: screened > 0 ? rows / screened : 0 };
  if (steps === 0) return { bytesPerToken, zeros: 0, ...head };
  const { rowBytes = 0, columnBytes = 0 } = skips ?? {};
  const spared = zeros * rowBytes + zeroColumns * columnBytes + headBytes - screenBytes;
  return {
    bytesPerToken: bytesPerToken - spared / steps,
    zeros: zeroColumns / (steps * model.layers * model.ffn),
    ...head,
  };
}
