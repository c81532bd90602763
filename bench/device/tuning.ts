// What tuning finds on the GPU, and the whole model with it beside the default.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { printTuned } from '../../cli/commands/tune.ts';
import { number } from '../../cli/format.ts';
import { tune } from '../../index.ts';
import { type MeasureOptions, measureModel } from '../model/measure.ts';
import { rowName } from '../report/result.ts';
import { synthesize } from '../shapes/index.ts';
import { shapeByName } from '../shapes/shapes.ts';
import type { TimesOptions } from './times.ts';

/** Tunes a random model of the shape, with the last of the heads, and measures it with what was found and without. */
export async function tuning(
  folder: string,
  { shape, heads, minutes, ...options }: TimesOptions & { readonly minutes: number },
) {
  const headEncoding = heads.at(-1)!;
  const path = join(folder, `${shape}-${headEncoding}-tuned.gguf`);
  await synthesize(shapeByName(shape), path, { headEncoding });
  const out = join(folder, 'generated');
  const file = join(folder, 'tuned.json');
  const { tuned } = await tune(path, {
    target: 'cuda',
    minutes,
    file,
    out,
    onProgress: ({ stage, message }) => stage === 'notice' && console.log(`notice: ${message}`),
  });
  console.log(printTuned(tuned, file));
  const measure = (request: Pick<MeasureOptions, 'tuned'>) =>
    measureModel(path, { ...options, ...request, target: 'cuda', out });
  const standard = await measure({ tuned: false });
  // Whatever the tuning chose of both.
  const found = await measure({ tuned: [{ ...tuned, choice: 'tuned' }] });
  for (const [index, row] of found.rows.entries()) {
    const [before, after] = [standard.rows[index]!, row].map(({ tokensPerSecond }) => tokensPerSecond.median);
    console.log(`${rowName(row).padEnd(40)} ${number(before!)} -> ${number(after!)} tokens/s`);
  }
  await rm(path);
  return { tuned, standard, found };
}
