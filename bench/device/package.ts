// Makes a folder that checks and times target cuda on a bare machine which has a GPU, nvcc and a C++ compiler, but neither
// Node nor a network: npm run bench:device -- FOLDER, then run FOLDER/run.sh there, with the options of main.ts.
import { execFileSync } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { BitnetError } from '../../errors.ts';
import { packageRoot } from '../../package-root.ts';

const [folder] = process.argv.slice(2);
if (!folder) throw new BitnetError('say which folder to make: npm run bench:device -- FOLDER');

/** What the program reads beside its own code. */
const CARRIED = [
  'package.json',
  'artifact',
  'templates',
  'targets',
  'models',
  'build/addon/bitnet.node',
  'build/addon/runner',
  'build/addon/nvrtc',
];

/** What modules of another kind, which some packages are, find around them. */
const AROUND = [
  "import { createRequire as requireFrom } from 'node:module';",
  'const require = requireFrom(import.meta.url);',
  'const __filename = import.meta.filename;',
  'const __dirname = import.meta.dirname;',
].join('\n');

const RUN = `#!/bin/sh
# Unpacks Node and runs the checks and timings; options are those of bench/device/main.ts.
set -e
cd "$(dirname "$0")"
[ -x node ] || { xz -dk node.xz; chmod +x node; }
exec ./node bench/device/main.js "$@"
`;

await mkdir(folder, { recursive: true });
for (const path of CARRIED) await cp(join(packageRoot(), path), join(folder, path), { recursive: true });
await build({
  // Threads that pack weights find their program beside it.
  entryPoints: ['bench/device/main.ts', 'compiler/threads/thread.ts'].map((path) => join(packageRoot(), path)),
  entryNames: '[name]',
  outdir: join(folder, 'bench/device'),
  bundle: true,
  minify: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  banner: { js: AROUND },
  logLevel: 'error',
});
await writeFile(join(folder, 'node.xz'), execFileSync('xz', ['-c', process.execPath], { maxBuffer: 1 << 28 }));
await writeFile(join(folder, 'run.sh'), RUN, { mode: 0o755 });
console.log(`${folder}/run.sh checks and times target cuda there`);
