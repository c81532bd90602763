// The tests of embedding, with the toy in WebAssembly and the engine that runs it there.
import { suite } from 'uvu';
import { WASM } from '../../artifact/machine.ts';
import { findCompiler } from '../../compiler/build/toolchain.ts';
import { parseTargets } from '../../targets/index.ts';
import { skip } from '../support/beds.ts';

process.env.BITNET_TEST_TOY = WASM;
const reason = await findCompiler(parseTargets('wasm-simd128')[0]).then(
  () => undefined,
  (error: Error) => error.message,
);
if (reason === undefined) await import('./engine-embed.test.ts');
else {
  const absent = suite('the engine in WebAssembly');
  skip(absent, 'embedding', reason);
  absent.run();
}
