// The layout that the runtime reads artifact/abi.h by is the one that clang gives it for wasm32.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { findCompiler } from '../../compiler/build/toolchain.ts';
import { singleModule } from '../../compiler/render/wasm-module.ts';
import { packageRoot } from '../../package-root.ts';
import { LAYOUT } from '../../runtime/src/wasm/abi.ts';
import { parseTargets } from '../../targets/index.ts';
import { skip } from '../support/beds.ts';
import { temporaryFolder } from '../support/temporary.ts';

const layout = suite('the ABI in WebAssembly');
const [target] = parseTargets('wasm-simd128');
const TITLE = 'members are where the runtime looks for them';

const asserted = Object.entries(LAYOUT).flatMap(([type, { size, ...members }]) => [
  `static_assert(sizeof(${type}) == ${size});`,
  ...Object.entries(members).map(([name, offset]) => `static_assert(offsetof(${type}, ${name}) == ${offset});`),
]);

try {
  const { command } = await findCompiler(target);
  layout(TITLE, () => {
    const source = join(temporaryFolder('wasm-abi'), 'layout.cpp');
    const text = ['#include <stddef.h>', '#include "artifact/abi.h"', ...asserted];
    writeFileSync(source, [...text, 'const bn_model_info *bn_model() { return nullptr; }', ''].join('\n'));
    const args = [`-I${packageRoot()}`, ...singleModule(source, target, `${source}.wasm`)];
    execFileSync(command, args, { cwd: join(packageRoot(), 'targets', target.id), stdio: 'inherit' });
  });
} catch (error) {
  skip(layout, TITLE, (error as Error).message);
}

layout.run();
