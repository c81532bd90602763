import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findGpuCompiler } from '../../compiler/build/find-gpu-compiler.ts';
import type { GpuCompiler } from '../../compiler/build/gpu-compiler.ts';
import { parseArchitectures } from '../../compiler/build/gpu-program.ts';
import { compile } from '../../compiler/index.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { BitnetError, defaultModel, tune } from '../../index.ts';
import { openToy } from '../fixtures/toy-model/toy.ts';
import { withEnvironment } from '../support/environment.ts';
import { sketch } from '../support/model-ir.ts';
import { refusal } from '../support/refusal.ts';

const compiler: GpuCompiler = {
  command: 'a compiler',
  version: 'release 12.4',
  architectures: ['sm_75', 'sm_80', 'sm_86', 'sm_89', 'sm_90'],
  library: 'model.fatbin',
  build: () => Promise.reject(new Error('not here')),
};

test('an architecture that there is not, or that the compiler does not know, is refused with those that are', async () => {
  assert.equal(await parseArchitectures('sm_90, sm_80,sm_90', compiler), ['sm_90', 'sm_80']);
  const unknown = await refusal(() => parseArchitectures('sm_90,sm_70', compiler));
  assert.match(unknown.message, "no GPU architecture 'sm_70'");
  assert.match(unknown.hint!, 'sm_80, sm_86, sm_89, sm_90, sm_120');
  const later = await refusal(() => parseArchitectures('sm_120', compiler));
  assert.match(later.message, 'release 12.4 does not know sm_120, only sm_80, sm_86, sm_89, sm_90');
});

test('where there is no compiler for GPUs, the error says what to install', async () => {
  for (const name of ['NVCC', 'NVRTC']) {
    const values = { NVCC: undefined, NVRTC: undefined, [name]: '/nowhere/compiler' };
    const error = await withEnvironment(values, () => refusal(() => findGpuCompiler()));
    assert.match(error.message, `(${name} is /nowhere/compiler)`);
    for (const needed of ['cuda-nvcc-13-0', 'cuda-nvrtc-13-0', 'pip install nvidia-cuda-nvrtc']) {
      assert.match(error.hint!, needed);
    }
  }
});

test('what is for CPUs is refused for GPUs, and the other way round', async () => {
  const ir = sketch();
  const refused = [
    [{ kernel: 'tl1' }, 'kernel tl1 is for CPUs'],
    [{ screen: 4 }, 'screened heads are for CPUs'],
  ] as const;
  for (const [request, message] of refused) {
    assert.match((await refusal(async () => planForGpu(ir, request))).message, message);
  }
  const tuning = await refusal(() => tune(defaultModel(), { target: 'cuda', device: 63 }));
  assert.match(tuning.message, /finds no GPU|there is no GPU 63/);
  const arch = await refusal(() => compile(defaultModel(), { target: 'ref', arch: 'sm_90' }));
  assert.match(arch.message, 'option arch is for target cuda, and this is ref');
  const gpus = await refusal(() => compile(defaultModel(), { target: 'ref', gpus: 2 }));
  assert.match(gpus.message, 'option gpus is for target cuda, and this is ref');
  const device = await refusal(() => openToy({}, { device: 0 }));
  assert.instance(device, BitnetError);
  assert.match(device.message, 'option device is for target cuda, and this is toy');
});

test.run();
