// Makes a folder that checks and times target cuda on a bare machine which has a GPU, nvcc and a C++ compiler, but neither
// Node nor a network: npm run bench:device -- FOLDER, then run FOLDER/run.sh there, with the options of main.ts.
import { makeDevicePackage, UNPACK_NODE } from '../device-package.ts';

const folder = await makeDevicePackage({
  script: 'bench:device',
  bench: 'device',
  carried: [
    'package.json',
    'artifact',
    'templates',
    'targets',
    'models',
    'build/addon/bitnet.node',
    'build/addon/runner',
    'build/addon/nvrtc',
  ],
  run: `#!/bin/sh
# Unpacks Node and runs the checks and timings; options are those of bench/device/main.ts.
${UNPACK_NODE}
exec ./node bench/device/main.js "$@"
`,
});
console.log(`${folder}/run.sh checks and times target cuda there`);
