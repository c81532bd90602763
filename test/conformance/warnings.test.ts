import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import { WASM } from '../../artifact/machine.ts';
import { cmakeBuild } from '../../compiler/build/cmake.ts';
import { libraryKey } from '../../compiler/build/library.ts';
import { type Compiler, findCompiler } from '../../compiler/build/toolchain.ts';
import { buildModule } from '../../compiler/build/wasm.ts';
import type { ModelIR } from '../../compiler/ir/model.ts';
import type { KernelKind } from '../../compiler/kernels/index.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { selectKernels } from '../../compiler/passes/select-kernels.ts';
import { renderBuildScript, renderSources, unitsOf } from '../../compiler/render/index.ts';
import { BitnetError } from '../../errors.ts';
import { packageRoot } from '../../package-root.ts';
import { type Target, targets } from '../../targets/index.ts';
import { skip } from '../support/beds.ts';
import { withEnvironment } from '../support/environment.ts';
import { NORMS, sketch } from '../support/model-ir.ts';
import { temporaryFolder } from '../support/temporary.ts';

/** Compilers that the generated programs are promised to build with, beside the one that is found by itself. */
const OTHERS = ['clang++-14', 'clang++-19'];

/** With ragged sizes, a head of its own, a norm less: what a template writes only sometimes. */
const RAGGED = sketch({
  architecture: 'llama',
  embedding: 256,
  ffn: 90,
  heads: 3,
  kvHeads: 3,
  headDim: 24,
  embeddingEncoding: 'q6_k',
  headEncoding: 'bf16',
});

const warnings = suite('warnings');
const folder = temporaryFolder('warnings');

/**
 * Builds with every warning an error, but for files that are among those built before. What has passed once is remembered
 * by its key.
 */
async function assertNoWarnings(
  model: ModelIR,
  target: Target,
  compiler: Compiler,
  built: Set<string>,
  kernel: KernelKind = 'i2',
): Promise<void> {
  const plan = planModel(model, { kernel });
  const sources = renderSources(plan, target, selectKernels(plan, target));
  const key = libraryKey(sources, target, compiler);
  const passed = join(packageRoot(), 'build', 'tests', `no-warnings-${key}`);
  if (existsSync(passed)) return;
  const place = join(folder, key);
  mkdirSync(place, { recursive: true });
  const unseen = sources.filter(({ text }) => !built.has(text));
  for (const { file, text } of [...sources, renderBuildScript(unseen, target, key)]) {
    mkdirSync(dirname(join(place, file)), { recursive: true });
    writeFileSync(join(place, file), text);
    built.add(text);
  }
  // Other tests optimise: here as much as warnings need, which takes half as long. Clang finds its own before it does.
  const flags = [/clang/.test(compiler.version) ? '-O0' : '-O1', '-Werror'];
  const define = { CMAKE_BUILD_TYPE: 'Warnings', CMAKE_CXX_FLAGS: flags.join(' ') };
  const strict = { ...target, flags: [...target.flags, ...flags] };
  if (target.arch === WASM) await buildModule(place, unitsOf(sources), strict, key, compiler);
  else await cmakeBuild({ source: place, build: join(place, 'build'), target, compiler, define });
  mkdirSync(join(packageRoot(), 'build', 'tests'), { recursive: true });
  writeFileSync(passed, '');
}

async function register(target: Target, CXX: string): Promise<void> {
  const title = `${target.id} builds without a warning${CXX ? ` with ${CXX}` : ''}`;
  try {
    const compiler = await withEnvironment({ CXX, BITNET_WASM_CXX: CXX || undefined }, () => findCompiler(target));
    if (CXX && compiler.cross && target.arch !== WASM) return;
    warnings(title, async () => {
      const built = new Set<string>();
      for (const kernel of CXX ? (['i2', 'tl2'] as const) : (['i2', 'tl1', 'tl2'] as const)) {
        await assertNoWarnings(RAGGED, target, compiler, built, kernel);
      }
      // What norms and windows add is the same code on every target.
      if (target === targets[0]) await assertNoWarnings(NORMS, target, compiler, built);
    });
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    skip(warnings, title, error.message);
  }
}

for (const target of targets) {
  for (const compiler of ['', ...OTHERS]) await register(target, compiler);
}

warnings.run();
