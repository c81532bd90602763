// Makes a folder that checks and times target webgpu on a bare Linux machine with a GPU and a C++ compiler, but neither Node nor
// a network: npm run bench:webgpu -- FOLDER, then run FOLDER/run.sh there, with the options of main.ts. Debian packages of
// what Vulkan needs are unpacked from FOLDER/debs, where they are put.
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { packageRoot } from '../../package-root.ts';
import { compressed, makeDevicePackage, UNPACK_NODE } from '../device-package.ts';

const folder = await makeDevicePackage({
  script: 'bench:webgpu',
  bench: 'webgpu',
  carried: ['package.json', 'artifact', 'templates', 'targets', 'models', 'test/fixtures', 'build/addon/bitnet.node'],
  external: ['webgpu'],
  run: `#!/bin/bash
# Unpacks Node, Dawn and the Vulkan loader, and runs the checks and timings; options are those of bench/webgpu/main.ts.
${UNPACK_NODE}
dawn=node_modules/webgpu/dist/linux-x64/dawn.node
[ -e $dawn ] || xz -dk $dawn.xz
if [ -d debs ]; then
  mkdir -p libraries
  for deb in debs/*.deb; do dpkg -x "$deb" libraries; done
  export LD_LIBRARY_PATH=$PWD/libraries/usr/lib/x86_64-linux-gnu:$LD_LIBRARY_PATH
fi
# NVIDIA's driver for Vulkan without a display: the one that wants X does not load on every such machine.
if [ -e /dev/nvidiactl ]; then
  echo '{"file_format_version":"1.0.1","ICD":{"library_path":"libEGL_nvidia.so.0","api_version":"1.3.0"}}' > icd.json
  export VK_DRIVER_FILES=$PWD/icd.json VK_ICD_FILENAMES=$PWD/icd.json
fi
export XDG_RUNTIME_DIR=\${XDG_RUNTIME_DIR:-/tmp}
# Times in nanoseconds, not in steps of 0.1 ms.
export BITNET_DAWN="\${BITNET_DAWN-enable-dawn-features=allow_unsafe_apis disable-dawn-features=timestamp_quantization}"
exec ./node bench/webgpu/main.js "$@"
`,
});

const dawn = 'node_modules/webgpu';
const library = 'dist/linux-x64/dawn.node';
for (const file of ['package.json', 'index.js']) {
  await cp(join(packageRoot(), dawn, file), join(folder, dawn, file));
}
await mkdir(join(folder, dawn, 'dist/linux-x64'), { recursive: true });
await writeFile(join(folder, dawn, `${library}.xz`), compressed(join(packageRoot(), dawn, library)));
console.log(`${folder}/run.sh checks and times target webgpu there`);
