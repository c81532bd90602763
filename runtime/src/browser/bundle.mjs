// bundle.mjs [FOLDER]: writes browser.js, which pages import, with the code of its threads in it, browser-webgl.js, which it
// fetches where it needs that, and the page of examples/browser, which `bitnet compile --web` copies. They go to dist.
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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

const out = process.argv[2] ?? here('../../../dist');
const example = here('../../../examples/browser');

const bundled = async (entry) => {
  const { outputFiles } = await build({ ...common, entryPoints: [here(entry)], format: 'iife', write: false });
  return JSON.stringify(outputFiles[0].text);
};

const licenceOf = async (name) => `${name}\n\n${await readFile(here(`../../../node_modules/${name}/LICENSE`), 'utf8')}`;

/** What has gpu.js in it: fetched where a model runs on WebGL. */
const webGl = './browser-webgl.js';
await mkdir(out, { recursive: true });
const licences = ['gpu.js', 'gpu-mock.js', 'acorn'].map((name) => licenceOf(name));
const notice = `/*!\n${(await Promise.all(licences)).join('\n')}*/\n`;
await writeFile(join(out, webGl), `${notice}export default ${await bundled('webgl-worker.ts')};\n`);
await build({
  ...common,
  entryPoints: [here('index.ts')],
  format: 'esm',
  external: [webGl],
  define: { WORKER_SOURCE: await bundled('worker.ts') },
  outfile: join(out, 'browser.js'),
});

const page = join(out, 'page');
await build({
  ...common,
  entryPoints: [join(example, 'src', 'main.tsx')],
  format: 'esm',
  jsx: 'automatic',
  jsxImportSource: 'preact',
  external: [webGl],
  alias: { 'bitnet-toolchain/browser': join(out, 'browser.js') },
  outfile: join(page, 'main.js'),
});
await cp(join(out, webGl), join(page, webGl));
await cp(join(example, 'public'), page, {
  recursive: true,
  filter: (file) => file !== join(example, 'public', 'model'),
});
const html = await readFile(join(example, 'index.html'), 'utf8');
await writeFile(join(page, 'index.html'), html.replace('./src/main.tsx', './main.js'));
