import { join } from 'node:path';
import { BitnetError } from '../../../errors.ts';
import type { Pooling } from '../../ir/model.ts';
import { Fields, MAX_SETTINGS, readJson } from './fields.ts';
import { exists } from './shards.ts';

/** Where sentence-transformers keep the settings of their pooling, which comes after the model itself. */
export const POOLING = join('1_Pooling', 'config.json');

const MODES: Readonly<Record<string, Pooling>> = {
  pooling_mode_lasttoken: 'last',
  pooling_mode_mean_tokens: 'mean',
  pooling_mode_cls_token: 'cls',
};

/**
 * How an embedding model of sentence-transformers pools, undefined where the folder does not say.
 * Throws BitnetError for a way that we do not compute.
 */
export async function readPooling(folder: string): Promise<Pooling | undefined> {
  const file = join(folder, POOLING);
  if (!(await exists(file))) return undefined;
  const settings = new Fields(file, await readJson(file, MAX_SETTINGS));
  const chosen = settings.keys().filter((key) => key.startsWith('pooling_mode_') && settings.boolean(key, false));
  const [mode] = chosen;
  if (chosen.length === 1 && Object.hasOwn(MODES, mode!)) return MODES[mode!];
  throw new BitnetError(`${file} asks for ${chosen.join(' and ') || 'no pooling'}, which is not supported`, {
    hint: `Supported is one of ${Object.keys(MODES).join(', ')}.`,
  });
}

/** The settings of a way to pool. */
export function poolingSettings(pooling: Pooling): object {
  return Object.fromEntries(Object.entries(MODES).map(([mode, name]) => [mode, name === pooling]));
}
