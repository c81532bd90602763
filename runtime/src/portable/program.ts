import { BitnetError } from '../../../errors.ts';

const RECOMPILE = 'The artifact is damaged or of another compilation: compile the model again.';

/**
 * Reads a program that is JSON: `model.json` of a target.
 * @throws BitnetError where it is none, not of that version, or of another compilation than the manifest
 */
export function readProgram<Program extends { readonly version: number; readonly key: string }>(
  text: string,
  version: Program['version'],
  key: string,
): Program {
  let program: Program;
  try {
    program = JSON.parse(text) as Program;
  } catch (cause) {
    throw new BitnetError(`the program is no JSON: ${(cause as Error).message}`, { hint: RECOMPILE, cause });
  }
  if (program.version !== version) {
    throw new BitnetError(`the program is of version ${program.version}, this runtime needs ${version}`, {
      hint: RECOMPILE,
    });
  }
  if (program.key === key) return program;
  throw new BitnetError(`the program has the key ${program.key}, the manifest says ${key}`, { hint: RECOMPILE });
}
