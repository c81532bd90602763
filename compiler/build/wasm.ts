import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Target } from '../../targets/target.ts';
import { moduleCommands, RELAXED_SECTION, type Variant } from '../render/wasm-module.ts';
import { runTool } from './tool.ts';
import type { Compiler } from './toolchain.ts';
import { YOWASP, yowaspRun } from './yowasp.ts';

/**
 * Builds the program in `folder` into `folder/model.wasm`, by way of `folder/build`. Where the compiler has relaxed SIMD,
 * the program built with it is in a section of the file. Throws a BitnetError with the compiler's errors.
 */
export async function buildModule(
  folder: string,
  files: readonly string[],
  target: Target,
  key: string,
  compiler: Compiler,
  signal?: AbortSignal,
): Promise<void> {
  const variants: Variant[] = compiler.relaxed ? ['plain', 'relaxed'] : ['plain'];
  const builds = variants.map((variant) => moduleCommands(files, target, key, variant));
  for (const variant of variants) await mkdir(join(folder, 'build', variant), { recursive: true });
  if (compiler.command === YOWASP) {
    await yowaspRun(
      folder,
      builds.flatMap(({ compile, link }) => [...compile, link]),
      builds.map(({ module }) => module),
      signal,
    );
  } else {
    const { command } = compiler;
    const tool = { name: command, install: 'apt-get install clang-19 lld-19', cwd: folder, ...(signal && { signal }) };
    const run = (args: readonly string[]) => runTool(command, args, tool);
    await eachOf(
      builds.flatMap(({ compile }) => compile),
      run,
    );
    for (const { link } of builds) await run(link);
  }
  const [plain, relaxed] = await Promise.all(builds.map(({ module }) => readFile(join(folder, module))));
  if (!relaxed) return;
  await writeFile(join(folder, 'model.wasm'), Buffer.concat([plain!, customSection(RELAXED_SECTION, relaxed)]));
}

/** Does work for each item, on all cores; after a failure begins nothing more, and throws it when all is quiet. */
async function eachOf<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      await work(items[next++]!).catch((error) => {
        next = items.length;
        throw error;
      });
    }
  };
  const done = await Promise.allSettled(Array.from({ length: availableParallelism() }, worker));
  for (const one of done) if (one.status === 'rejected') throw one.reason;
}

/** A custom section as the binary format has it: 0, the size of what follows, the length of the name, name, content. */
function customSection(name: string, content: Uint8Array): Uint8Array {
  const label = Buffer.from(name);
  const body = Buffer.concat([leb128(label.length), label, content]);
  return Buffer.concat([Uint8Array.of(0), leb128(body.length), body]);
}

/** An unsigned number in seven bits a byte, the lowest first. */
function leb128(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Uint8Array.of(...bytes, rest);
}
