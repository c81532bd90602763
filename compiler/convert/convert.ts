import { writeFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import type { TensorSource } from '../export/gguf.ts';
import { importModel } from '../import/index.ts';
import { ModelSource } from '../import/source.ts';
import type { ModelIR } from '../ir/model.ts';
import { verifyModel } from '../ir/verify.ts';
import { formatKernelConfig } from '../kernels/config.ts';
import { architectureOf } from '../models/index.ts';
import { systemErrors } from '../system-errors.ts';
import { ahead } from './ahead.ts';
import { Contents } from './contents.ts';
import type { ConvertOptions, ConvertReport } from './options.ts';
import { OUTPUTS } from './output.ts';
import { readBack } from './read-back.ts';
import { bytesOf, planConversion, type Recipe, ternaryMatrices, weightEncoding } from './recipe.ts';
import { requirePlace, staged } from './staged.ts';
import { beginStage, type Tick } from './stages.ts';

/**
 * Turns a model into another format or type, tensor by tensor, without losing a bit of its ternary weights.
 *
 * The result is made beside `output`, read back and compared with the input; only then does it get its name, and takes
 * the place of what had it. On any error, and when `options.signal` aborts, nothing of it is left.
 *
 * Throws a BitnetError for an input that cannot be read, for a tensor that cannot be stored exactly as asked, and where
 * the system refuses; and the signal's reason when it aborts.
 */
export async function convert(input: string, output: string, options: ConvertOptions): Promise<ConvertReport> {
  return systemErrors(async () => {
    const path = resolve(output);
    const weights = weightEncoding(options);
    const ir = await importModel(input, options);
    verifyModel(ir, architectureOf(ir.architecture));
    const out = await OUTPUTS[options.to](path, ir, weights);

    await using source = await ModelSource.open(ir);
    const contents = new Contents(source);
    const scales = await surveyScales(ir, contents, options);
    const recipe = planConversion(ir, options, scales, out.ropeFactors);
    if (keepsTiles(recipe, options)) await requirePlace(tilesFile(path));

    return await staged(path, async (stage) => {
      await out.write(stage, sources(recipe, contents, options));
      const { tensors, bytes } = await readBack(stage, recipe, contents, options);
      const config = await keepTiles(path, recipe, options);
      return { output: path, format: options.to, weights, bytes, config, tensors, notes: recipe.notes };
    });
  });
}

/** The scale of each ternary matrix. Whatever is wrong with one is found here, before anything is written. */
async function surveyScales(ir: ModelIR, contents: Contents, options: ConvertOptions): Promise<Map<string, number>> {
  const matrices = ternaryMatrices(ir, weightEncoding(options));
  const total = matrices.reduce((sum, { bytes }) => sum + bytes, 0);
  const tick = beginStage('survey', `reading ${basename(ir.source.path)}`, total, options);
  const scales = new Map<string, number>();
  for (const from of matrices) {
    const { scale } = await contents.ternary({ from, shape: from.shape, order: undefined });
    scales.set(from.name, scale);
    tick(from.bytes);
  }
  return scales;
}

/** The tensors of the result, made when they are asked for. */
function sources(recipe: Recipe, contents: Contents, options: ConvertOptions): TensorSource[] {
  const total = recipe.tensors.reduce((sum, tensor) => sum + bytesOf(tensor), 0);
  const tick = beginStage('write', `writing ${recipe.weights}`, total, options);
  return recipe.tensors.map((tensor) => ({
    name: tensor.name,
    shape: tensor.shape,
    encoding: tensor.encoding,
    tile: tensor.kind === 'ternary' ? tensor.tile : undefined,
    data: () => ahead(ticking(contents.bytes(tensor), tick)),
  }));
}

async function* ticking(chunks: AsyncIterable<Uint8Array>, tick: Tick): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    tick(chunk.length);
    yield chunk;
  }
}

/** Whether tiles were chosen, which reading the result needs. */
const keepsTiles = ({ config }: Recipe, options: ConvertOptions): boolean =>
  config !== undefined && options.config === undefined;

const tilesFile = (path: string): string => `${path}.ini`;

/** The .ini that reading the result needs: the one given, or one beside it with the tiles that were chosen. */
async function keepTiles(path: string, recipe: Recipe, options: ConvertOptions): Promise<string | undefined> {
  if (!keepsTiles(recipe, options)) return recipe.config?.file;
  const file = tilesFile(path);
  await staged(file, (stage) => writeFile(stage, formatKernelConfig(recipe.config!.sections)));
  return file;
}
