import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Shader } from '../../artifact/webgpu.ts';
import { FLOAT, type FloatEncodingName } from '../../compiler/import/encodings/index.ts';
import { importModel } from '../../compiler/import/index.ts';
import type { ModelIR } from '../../compiler/ir/model.ts';
import type { Plan } from '../../compiler/ir/plan.ts';
import { texelKernel } from '../../compiler/kernels/bitlinear-texel.ts';
import { families } from '../../compiler/kernels/index.ts';
import type { KernelFamily, KernelSpec } from '../../compiler/kernels/spec.ts';
import { planForGpu, planModel } from '../../compiler/passes/index.ts';
import { selectKernels } from '../../compiler/passes/select-kernels.ts';
import { renderCuda } from '../../compiler/render/cuda/index.ts';
import { render } from '../../compiler/render/environment.ts';
import { renderBuildScript, renderSources } from '../../compiler/render/index.ts';
import { kernelView, tableView } from '../../compiler/render/views.ts';
import { kernelView as webGlKernelView } from '../../compiler/render/webgl/index.ts';
import { renderWebGpu } from '../../compiler/render/wgsl/index.ts';
import { packageRoot } from '../../package-root.ts';
import { cuda, type Target, targets, webgl, webgpu } from '../../targets/index.ts';
import { assertExpected, assertNoOthers } from '../support/expected.ts';
import { isSupported, specOf } from '../support/kernel-library.ts';
import { NORMS, sketch } from '../support/model-ir.ts';

/** Whole tiles and blocks, and neither. */
const SHAPES = { even: { m: 128, k: 64 }, ragged: { m: 48, k: 250 } };
/** A chunked K loop on targets that need none, too. */
const CHUNKED = { shape: { m: 64, k: 400 }, columns: 64 };

/**
 * Squared ReLU, sub-norms, tied head, halves rotating; the opposites, with sizes that are no multiple of 16; and norms
 * wherever there may be some, with layers that attend to a window.
 */
const MODELS = {
  even: sketch({ heads: 8, kvHeads: 2, embedding: 128, ffn: 256 }),
  ragged: sketch({
    architecture: 'llama',
    embedding: 100,
    ffn: 90,
    heads: 3,
    kvHeads: 3,
    headDim: 24,
    vocab: 97,
    rope: { dimensions: 16, scaling: { kind: 'linear', factor: 4 } },
    embeddingEncoding: 'bf16',
    headEncoding: 'f32',
  }),
  norms: NORMS,
};

/** The program whose every file is kept, and the target it is for. */
const PROGRAM = { model: 'b158-i2s', target: 'x86-avx2' };

const golden = suite('golden sources');
const expected = new Set<string>();

function compare(target: Pick<Target, 'id'>, file: string, text: () => string): void {
  const path = join(target.id, file);
  expected.add(path);
  golden(path, () => assertExpected(path, text()));
}

function kernel(family: KernelFamily, spec: KernelSpec, target: Target): void {
  compare(target, `${spec.name}.cpp`, () => render(`${family.id}.cpp`, kernelView(spec, target)));
}

/** Files that every program gets as they are, and those that only some do. */
const COPIED = ['abi.h', 'primitives.h', 'blocks.h', 'rows.h', 'angles.h', 'team.h'];
const COPIED_TO_SOME = ['skip.h', 'lists.h', 'screen.h'];

/** Every file of a program, in one test; kernels and copied headers only where they are asked for. */
function program(target: Target, folder: string, model: () => Plan | Promise<Plan>, kernels: boolean): void {
  golden(join(target.id, folder), async () => {
    const plan = await model();
    const sources = renderSources(plan, target, selectKernels(plan, target));
    const files = sources.map(({ file }) => file);
    assert.ok(COPIED.every((file) => files.includes(file)));
    for (const { file, text } of [...sources, renderBuildScript(sources, target, 'key')]) {
      const asItIs = COPIED.includes(file) || COPIED_TO_SOME.includes(file) || file.startsWith('include/');
      if (asItIs || (file.startsWith('bn_') && !kernels)) continue;
      const path = join(target.id, folder, file);
      expected.add(path);
      assertExpected(path, text);
    }
  });
}

for (const target of targets) {
  for (const family of families) {
    for (const shape of Object.values(SHAPES)) kernel(family, specOf(family, shape, target), target);
    const tile = { ...family.defaultTile(CHUNKED.shape, target), columns: CHUNKED.columns };
    const chunked = specOf(family, CHUNKED.shape, target, tile);
    if (isSupported(family, chunked, target)) kernel(family, chunked, target);
  }
  for (const [name, ir] of Object.entries(MODELS)) program(target, `model-${name}`, () => planModel(ir), false);
}

/** Of a program for GPUs, what is not copied: the models above, one whose heads and attention are for tensor cores, also shared by two. */
const GPU_MODELS = {
  ...MODELS,
  flash: sketch({ embedding: 256, ffn: 384, heads: 4, kvHeads: 2, headDim: 128, embeddingEncoding: 'q6_k' }),
};
for (const [name, ir] of Object.entries(GPU_MODELS)) {
  compare(cuda, `${name}.cu`, () => cudaSource(ir, 'model.cu'));
}
compare(cuda, 'flash-x2.cu', () => cudaSource(GPU_MODELS.flash, 'model.cu', 2));
compare(cuda, 'wgmma.cuh', () => cudaSource(MODELS.even, 'wgmma.cuh'));

function cudaSource(ir: ModelIR, file: string, gpus = 1): string {
  return renderCuda(planForGpu(ir), gpus).find((source) => source.file === file)!.text;
}

/** A shader of each template for WebGPU, from the first model that has it. */
const wgsl = new Map<string, Shader>();
for (const ir of Object.values(GPU_MODELS)) {
  for (const shader of Object.values(renderWebGpu(planForGpu(ir)).shaders)) {
    const [, template] = /Written from templates\/wgsl\/(.+)\.$/m.exec(Object.values(shader.variants)[0]!)!;
    if (!wgsl.has(template!)) wgsl.set(template!, shader);
  }
}

/** The variant for most GPUs: all that it may have, and a float16 cache. */
const usual = ({ variants }: Shader): string =>
  Object.entries(variants).findLast(([flags]) => !flags.includes('f32'))![1];

// A template that no model here takes is a fault.
for (const file of readdirSync(join(packageRoot(), 'templates', 'wgsl')).filter((name) => name.endsWith('.hbs'))) {
  compare(webgpu, file.replace('.hbs', ''), () => usual(wgsl.get(file)!));
}
compare(webgpu, 'gemv-plain.wgsl', () => wgsl.get('gemv.wgsl.hbs')!.variants['']!);

const { name, family } = texelKernel(SHAPES.ragged, webgl.id);
compare(webgl, `${name}.js`, () => render(`${family}.js`, webGlKernelView(SHAPES.ragged), 'webgl'));

// How a row is decoded does not depend on the target: one of them stands for all.
for (const encoding of Object.keys(FLOAT) as FloatEncodingName[]) {
  const [cols, rows] = [2 * Math.max(32, FLOAT[encoding].blockValues), 8];
  const tensor = { name: 'head', kind: 'rows', tensor: '', encoding, rows, cols, offset: 0, bytes: 0 } as const;
  for (const template of ['embedding.cpp', 'head.cpp']) {
    compare(targets[0], `${encoding}-${template}`, () => render(template, tableView(tensor, targets[0])));
  }
}

const { model, target: id } = PROGRAM;
const fixture = join(packageRoot(), 'test', 'fixtures', `${model}.gguf`);
program(targets.find((target) => target.id === id)!, model, async () => planModel(await importModel(fixture)), true);

golden('no expected file is left over', () => assertNoOthers(expected));

golden.run();
