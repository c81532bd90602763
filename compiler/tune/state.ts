import { readFile, rm } from 'node:fs/promises';
import { z } from 'zod';
import { writeAll, writeWhole } from '../export/whole-file.ts';

const samples = z.array(z.number().positive()).max(1000);

const state = z.strictObject({
  format: z.literal(1),
  /** Of all that the samples depend on. */
  key: z.string(),
  /** By the key of the library that the kernels are in. */
  groups: z.record(
    z.string(),
    z.record(z.string(), z.strictObject({ samples, out: z.boolean(), checked: z.boolean() })),
  ),
});

/** What a tuning has measured so far. */
export type TuningState = z.infer<typeof state>;

/** Where that is kept, beside the tuned file. */
export const statePath = (file: string): string => `${file}.state`;

/** What an earlier tuning left; undefined where there is none, or none of this key. `onProblem` hears of a damaged one. */
export async function readState(
  file: string,
  key: string,
  onProblem: (message: string) => void,
): Promise<TuningState | undefined> {
  const path = statePath(file);
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const found = state.parse(JSON.parse(text));
    if (found.key === key) return found;
    onProblem(`${path} is of another machine, compiler or version: tuning begins anew`);
  } catch {
    onProblem(`${path} is damaged: tuning begins anew`);
  }
  return undefined;
}

/** Keeps what was measured; the file appears when it is whole. */
export async function writeState(file: string, value: TuningState): Promise<void> {
  await writeWhole(statePath(file), (handle) => writeAll(handle, Buffer.from(JSON.stringify(value))));
}

export const removeState = (file: string): Promise<void> => rm(statePath(file), { force: true });
