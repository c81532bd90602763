// The package for browsers, as a bundler meets it.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packageRoot } from '../../package-root.ts';
import { temporaryFolder } from '../support/temporary.ts';

const folder = temporaryFolder('bundle');
execFileSync(process.execPath, [join(packageRoot(), 'runtime/src/browser/bundle.mjs'), folder]);
const file = join(folder, 'browser.js');

test('is less than 100 kB, compressed, and imports nothing but what WebGL needs, where it is needed', () => {
  const code = readFileSync(file);
  assert.ok(gzipSync(code).length < 100_000, `${gzipSync(code).length} bytes`);
  assert.equal(code.toString().match(/\bimport\([^)]*\)/g), ['import("./browser-webgl.js")']);
  assert.not.match(code.toString(), /gpu\.js|createKernel/);
  assert.match(readFileSync(join(folder, 'browser-webgl.js'), 'utf8'), /createKernel/);
  assert.not.match(code.toString(), /\bimport\s*(?:[\w{*]|['"(])[^;]*['"]node:/);
});

test('is bundled with what imports it', async () => {
  const contents = `import { load } from ${JSON.stringify(file)}; console.log(load);`;
  const { errors, warnings } = await build({
    stdin: { contents, resolveDir: folder },
    bundle: true,
    platform: 'browser',
    write: false,
  });
  assert.equal([errors, warnings], [[], []]);
});

test.run();
