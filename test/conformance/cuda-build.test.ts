import { execFile } from 'node:child_process';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { codeOf, type GpuCompiler } from '../../compiler/build/gpu-compiler.ts';
import { findNvcc } from '../../compiler/build/nvcc.ts';
import { findNvrtc } from '../../compiler/build/nvrtc.ts';
import type { ModelIR } from '../../compiler/ir/model.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { renderCuda } from '../../compiler/render/cuda/index.ts';
import { cuda } from '../../targets/index.ts';
import { skip } from '../support/beds.ts';
import { launchesOf } from '../support/gpu-table.ts';
import { NORMS, sketch } from '../support/model-ir.ts';
import { temporaryFolder } from '../support/temporary.ts';

const run = promisify(execFile);

/** Heads of 128 and a head in tiles. */
const FLASH = sketch({ embedding: 256, ffn: 384, heads: 4, kvHeads: 2, headDim: 128, embeddingEncoding: 'q6_k' });
/** The widest rows that there are. */
const WIDE = sketch({ embedding: 8192, ffn: 45568, heads: 64, kvHeads: 8, headDim: 128 });

const CASES: readonly (readonly [name: string, ir: ModelIR, architectures: readonly string[], gpus?: number])[] = [
  ['flash', FLASH, cuda.architectures],
  ['norms', NORMS, ['sm_90']],
  ['wide rows', WIDE, ['sm_120']],
  ['wide rows, shared by two', WIDE, ['sm_90'], 2],
];

/** Bytes of shared memory that a thread block may have, less what kernels declare beside what launches ask for. */
const SHARED: Readonly<Record<string, number>> = { sm_80: 163, sm_86: 99, sm_89: 99, sm_90: 227, sm_120: 99 };
const DECLARED = 2 << 10;

const build = suite('cuda, built');

const root = temporaryFolder('cuda');

async function sourcesOf(ir: ModelIR, gpus?: number): Promise<string> {
  const folder = await mkdtemp(join(root, 'model-'));
  for (const { file, text } of renderCuda(planForGpu(ir), gpus)) await writeFile(join(folder, file), text);
  return folder;
}

/** To PTX only: warnings are the front end's, and assembling it takes longer. */
async function check({ command }: GpuCompiler, ir: ModelIR, architecture: string, gpus?: number): Promise<void> {
  const folder = await sourcesOf(ir, gpus);
  const code = `-arch=${codeOf(architecture).replace('sm', 'compute')}`;
  const flags = [...cuda.flags, '--expt-relaxed-constexpr', '-Wno-deprecated-gpu-targets', '-Werror=all-warnings'];
  const args = [...flags, code, '-DBN_MODEL_KEY="key"', '-ptx', '-o', 'model.ptx', 'model.cu'];
  const { stderr } = await run(command, args, { cwd: folder });
  assert.is(stderr, '');
  const ptx = await readFile(join(folder, 'model.ptx'), 'utf8');
  const limit = SHARED[architecture]! * 1024 - DECLARED;
  for (const { kernel, threads, sharedBytes } of launchesOf(ptx)) {
    if (kernel === '') continue; // a gathering
    assert.ok(ptx.includes(`.entry ${kernel}(`), `${kernel} is launched, and is not there`);
    assert.ok(threads > 0 && threads <= 1024, `${kernel} has ${threads} threads`);
    assert.ok(sharedBytes <= limit, `${kernel} wants ${sharedBytes} bytes of shared memory, there are ${limit}`);
  }
}

const nvcc = await findNvcc();
for (const [name, ir, architectures, gpus] of CASES) {
  for (const architecture of architectures) {
    const title = `${name} for ${architecture}: no warning, and what it launches fits`;
    if (!nvcc) skip(build, title, 'there is no nvcc');
    else if (!nvcc.architectures.includes(architecture)) skip(build, title, `${nvcc.version} is too old`);
    else build(title, () => check(nvcc, ir, architecture, gpus));
  }
}

const nvrtc = await findNvrtc();
const title = 'NVRTC compiles what nvcc compiles, without the headers of the toolkit';
if (!nvrtc) skip(build, title, 'there is no NVRTC: set NVRTC to a libnvrtc.so');
else {
  build(title, async () => {
    for (const ir of [FLASH, NORMS]) {
      const folder = await sourcesOf(ir);
      const flags = [...cuda.flags, '-DBN_MODEL_KEY="key"'];
      await nvrtc.build(folder, { architectures: ['sm_80', 'sm_90'], flags });
      const file = await readFile(join(folder, nvrtc.library));
      assert.is(file.toString('latin1', 0, 8), 'bncubins');
      assert.is(file.readInt32LE(8), 2);
      for (const [index, capability] of [80, 90].entries()) {
        const entry = 16 + 24 * index;
        assert.is(file.readInt32LE(entry), capability);
        const at = Number(file.readBigInt64LE(entry + 8));
        assert.is(file.toString('latin1', at, at + 4), '\x7fELF');
        assert.ok(at + Number(file.readBigInt64LE(entry + 16)) <= file.length);
      }
    }
  });
}

build.run();
