import { type CachedModel, type CacheOptions, findModel, removeFolder, withModel } from './cache.ts';
import { parseModelName } from './names.ts';
import { hubErrors } from './system-errors.ts';

/**
 * Removes a model with all its files, and what is there of a download that was not completed.
 * @param name exactly as `listModels` has it
 * @returns the model that was
 * @throws BitnetError where there is none
 */
export async function removeModel(name: string, options: CacheOptions = {}): Promise<CachedModel> {
  return hubErrors(async () => {
    const { name: exact } = await findModel(name);
    return withModel(
      parseModelName(exact),
      async () => {
        const model = await findModel(name);
        await removeFolder(model.folder);
        return model;
      },
      options,
    );
  });
}
