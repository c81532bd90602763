// Makes a folder that checks and times target webgpu on a bare Linux machine with a GPU and a C++ compiler, but neither Node nor
// a network: npm run bench:webgpu -- FOLDER, then run FOLDER/run.sh there, with the options of main.ts. Debian packages of
// what Vulkan needs are unpacked from FOLDER/debs, where they are put.
import { execFileSync } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { BitnetError } from '../../errors.ts';
import { packageRoot } from '../../package-root.ts';

const [folder] = process.argv.slice(2);
if (!folder) throw new BitnetError('say which folder to make: npm run bench:webgpu -- FOLDER');

/** What the program reads beside its own code. */
const CARRIED = [
  'package.json',
  'artifact',
  'templates',
  'targets',
  'models',
  'test/fixtures',
  'build/addon/bitnet.node',
];

const AROUND = [
  "import { createRequire as requireFrom } from 'node:module';",
  'const require = requireFrom(import.meta.url);',
  'const __filename = import.meta.filename;',
  'const __dirname = import.meta.dirname;',
].join('\n');

const RUN = `#!/bin/bash
# Unpacks Node, Dawn and the Vulkan loader, and runs the checks and timings; options are those of bench/webgpu/main.ts.
set -e
cd "$(dirname "$0")"
[ -x node ] || { xz -dk node.xz; chmod +x node; }
dawn=node_modules/webgpu/dist/linux-x64/dawn.node
[ -e $dawn ] || xz -dk $dawn.xz
if [ -d debs ]; then
  mkdir -p libraries
  for deb in debs/*.deb; do dpkg -x "$deb" libraries; done
  export LD_LIBRARY_PATH=$PWD/libraries/usr/lib/x86_64-linux-gnu:$LD_LIBRARY_PATH
fi
icd=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
if [ -e $icd ]; then export VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd; fi
export XDG_RUNTIME_DIR=\${XDG_RUNTIME_DIR:-/tmp}
# Times in nanoseconds, not in steps of 0.1 ms.
export BITNET_DAWN="\${BITNET_DAWN-enable-dawn-features=allow_unsafe_apis disable-dawn-features=timestamp_quantization}"
exec ./node bench/webgpu/main.js "$@"
`;

await mkdir(folder, { recursive: true });
for (const path of CARRIED) await cp(join(packageRoot(), path), join(folder, path), { recursive: true });
const dawn = 'node_modules/webgpu';
for (const file of ['package.json', 'index.js']) {
  await cp(join(packageRoot(), dawn, file), join(folder, dawn, file));
}
const xz = (file: string) => execFileSync('xz', ['-c', file], { maxBuffer: 1 << 28 });
await mkdir(join(folder, dawn, 'dist/linux-x64'), { recursive: true });
const library = 'dist/linux-x64/dawn.node';
await writeFile(join(folder, dawn, `${library}.xz`), xz(join(packageRoot(), dawn, library)));
await build({
  // Threads that pack weights find their program beside it.
  entryPoints: ['bench/webgpu/main.ts', 'compiler/threads/thread.ts'].map((path) => join(packageRoot(), path)),
  entryNames: '[name]',
  outdir: join(folder, 'bench/webgpu'),
  bundle: true,
  minify: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  external: ['webgpu'],
  banner: { js: AROUND },
  logLevel: 'error',
});
await writeFile(join(folder, 'node.xz'), xz(process.execPath));
await writeFile(join(folder, 'run.sh'), RUN, { mode: 0o755 });
console.log(`${folder}/run.sh checks and times target webgpu there`);
