import * as z from 'zod';
import { type Manifest, manifestSchema, type TargetEntry, type WeightsEntry } from '../../artifact/manifest.ts';
import { ABI_VERSION, ARTIFACT_FORMAT } from '../../artifact/version.ts';
import { BitnetError } from '../../errors.ts';
import type { NativeOpenOptions } from './addon.ts';

export const RECOMPILE = 'Compile the model again.';

/** A long context costs memory for every sequence, so it has to be asked for. */
const DEFAULT_CONTEXT = 4096;

/** The manifest that a text is; `file` names it in errors. @throws BitnetError where it is damaged or of another version */
export function parseManifest(text: string, file: string): Manifest {
  const value = parseJson(text, file);
  const versions = z.object({ format: z.number(), abi: z.number() }).safeParse(value);
  if (versions.success && (versions.data.format !== ARTIFACT_FORMAT || versions.data.abi !== ABI_VERSION)) {
    const { format, abi } = versions.data;
    const ours = `format ${ARTIFACT_FORMAT}, ABI ${ABI_VERSION}`;
    throw new BitnetError(`${file} is of format ${format}, ABI ${abi}; this runtime reads ${ours}`, {
      hint: RECOMPILE,
    });
  }
  const parsed = manifestSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]!;
  throw new BitnetError(`${file} is damaged at ${issue.path.join('.') || 'the top'}: ${issue.message}`, {
    hint: RECOMPILE,
  });
}

function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new BitnetError(`${file} is no JSON: ${(cause as Error).message}`, { hint: RECOMPILE, cause });
  }
}

/** The weights that a target reads. @throws BitnetError where there are none */
export function weightsOf(manifest: Manifest, { layout }: TargetEntry): WeightsEntry {
  const weights = manifest.weights[layout];
  if (!weights) throw new BitnetError(`the manifest of ${manifest.model.name} lists no weights of layout ${layout}`);
  return weights;
}

/** Tokens that a sequence has room for. @throws BitnetError where more are asked for than the model was trained on */
export function contextOf({ model }: Manifest, asked: number | undefined): number {
  if (asked === undefined) return Math.min(model.context, DEFAULT_CONTEXT);
  if (asked <= model.context) return asked;
  throw new BitnetError(`room for ${asked} tokens was asked for, the context of ${model.name} is ${model.context}`);
}

/** What a program must turn out to be when it is opened: its key, and what its kernels compute on the weights. */
export const expectedOf = ({ key, kernels }: TargetEntry): Pick<NativeOpenOptions, 'key' | 'kernels'> => ({
  key,
  kernels: kernels.flatMap(({ name, checksum, others = [] }) => [
    { name, checksum },
    ...others.map((of, i) => ({ name: `${name}@${i + 1}`, checksum: of })),
  ]),
});
