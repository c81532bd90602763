import { BitnetError } from '../../errors.ts';
import type { Architecture } from './architecture.ts';
import { bitnet } from './bitnet.ts';
import { bitnet25 } from './bitnet-25.ts';
import { bitnetB158 } from './bitnet-b1.58.ts';
import { gemma3 } from './gemma3.ts';
import { llama } from './llama.ts';
import { qwen3 } from './qwen3.ts';

export type { Architecture } from './architecture.ts';

/** Every architecture the compiler knows. */
export const architectures: readonly Architecture[] = [bitnet, bitnetB158, bitnet25, llama, qwen3, gemma3];

/** Finds an architecture by its `general.architecture`; throws a BitnetError that lists what is supported. */
export function architectureOf(id: string): Architecture {
  const found = architectures.find((architecture) => architecture.id === id);
  if (found) return found;
  throw new BitnetError(`architecture '${id}' is not supported`, {
    hint: `supported architectures: ${architectures.map((architecture) => architecture.id).join(', ')}`,
  });
}
