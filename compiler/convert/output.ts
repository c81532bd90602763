import { sep } from 'node:path';
import { type TensorSource, writeGguf } from '../export/gguf.ts';
import { huggingFaceFiles, writeHuggingFace } from '../export/huggingface.ts';
import { WEIGHTS } from '../import/huggingface/shards.ts';
import type { ModelIR } from '../ir/model.ts';
import { ggufSurroundings } from './metadata.ts';
import type { Format } from './options.ts';
import { ternaryMatrices, type WeightEncoding } from './recipe.ts';
import { isSingle, requireNeighbours, requirePlace } from './staged.ts';

/** What a model is written to, for one model and one type of weights. */
export interface Output {
  /** Factors of rotary frequencies that the result has as a tensor. */
  readonly ropeFactors: readonly number[] | undefined;
  /** Writes everything under `path`, in the order of `tensors`. */
  write(path: string, tensors: readonly TensorSource[]): Promise<void>;
}

/** How to write each format. What could not be described there is refused, and a `path` that holds something else. */
export const OUTPUTS: Readonly<
  Record<Format, (path: string, ir: ModelIR, weights: WeightEncoding) => Promise<Output>>
> = {
  async gguf(path, ir, weights) {
    await requirePlace(path);
    const { metadata, ropeFactors } = await ggufSurroundings(ir, weights);
    return { ropeFactors, write: (stage, tensors) => writeGguf(stage, metadata, tensors) };
  },

  async safetensors(path, ir, weights) {
    const files = [...huggingFaceFiles(ir, 'packed').keys(), WEIGHTS].map((file) => file.split(sep)[0]);
    await (isSingle(path) ? requireNeighbours(path, files) : requirePlace(path, files));
    // Ternary weights that become real numbers are used as they are: only masters are quantised again.
    const taken = new Set(ternaryMatrices(ir, weights));
    const tensors = ir.tensors.map((tensor) => (taken.has(tensor) ? { ...tensor, quantise: undefined } : tensor));
    const described = { ...ir, tensors };
    return { ropeFactors: undefined, write: (stage, sources) => writeHuggingFace(stage, described, sources) };
  },
};
