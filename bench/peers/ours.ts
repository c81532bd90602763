import { cacheFolder } from '../../compiler/build/cache-folder.ts';
import { COMPILER_VERSION } from '../../compiler/version.ts';
import { load, type MachineLimits } from '../../index.ts';
import type { Engine, ModelFile, Work } from './engine.ts';
import type { Variant } from './variants.ts';

/** What our engines' names begin with. */
export const OURS = 'bitnet-toolchain';

/** This toolchain with certain settings, in this process. Each round also measures the machine. */
export async function ours(
  model: ModelFile,
  { name, options }: Variant,
  { threads, promptTokens, newTokens }: Work,
  onMachine: (limits: MachineLimits) => void,
): Promise<Engine> {
  const opened = await load(model.path, {
    ...options,
    threads: options.threads ?? threads,
    sequences: 1,
    contextLength: promptTokens + newTokens + 1,
    out: cacheFolder('peers', 'generated'),
  });
  return {
    name: `${OURS} (${[opened.target, ...(name === 'default' ? [] : [name])].join(', ')})`,
    model: { ...model, bytesPerToken: opened.manifest.bytesPerToken },
    async run() {
      const { rows, machine } = await opened.benchmark({ promptTokens: [promptTokens], newTokens, repetitions: 1 });
      onMachine(machine);
      const [prefill, decode] = rows.map(({ tokensPerSecond }) => tokensPerSecond.median);
      return { prefill: prefill!, decode: decode!, version: COMPILER_VERSION };
    },
    close: () => opened.dispose(),
  };
}
