// bundle.mjs [FILE]: writes dist/browser.js, which pages import, with the code of its threads in it.
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const common = {
  bundle: true,
  minify: true,
  legalComments: 'none',
  target: 'es2022',
  platform: 'browser',
  alias: {
    'node:events': here('node/events.ts'),
    'node:timers/promises': here('node/timers.ts'),
    'node:util': here('node/util.ts'),
    'node:vm': here('node/vm.ts'),
  },
};

const worker = await build({ ...common, entryPoints: [here('worker.ts')], format: 'iife', write: false });
await build({
  ...common,
  entryPoints: [here('index.ts')],
  format: 'esm',
  define: { WORKER_SOURCE: JSON.stringify(worker.outputFiles[0].text) },
  outfile: process.argv[2] ?? here('../../../dist/browser.js'),
});
