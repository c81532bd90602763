import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { families, type KernelKind, LAYOUTS } from '../../compiler/kernels/index.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { selectKernels } from '../../compiler/passes/select-kernels.ts';
import { render, templateFolder } from '../../compiler/render/environment.ts';
import { renderBuildScript, renderKernels, renderSources } from '../../compiler/render/index.ts';
import { attentionView, kernelView, modelView } from '../../compiler/render/views.ts';
import { parseTargets, targets } from '../../targets/index.ts';
import { specOf } from '../support/kernel-library.ts';
import { sketch } from '../support/model-ir.ts';

const [target] = targets;
const GEMMA = sketch({
  architecture: 'gemma3',
  embedding: 72,
  ffn: 90,
  headDim: 24,
  inputNorms: true,
  window: { positions: 8, local: [true, false], ropeBase: 100 },
});
const QWEN = sketch({ architecture: 'qwen3', inputNorms: true });

const KINDS = Object.keys(LAYOUTS) as KernelKind[];

function sourcesOf(ir = sketch(), kernel: KernelKind = 'i2') {
  const plan = planModel(ir, { kernel });
  return renderSources(plan, target, selectKernels(plan, target));
}

test('a name that the view lacks is an error: a file is whole or not there', () => {
  const { k: _k, ...view } = kernelView(specOf(families[0], { m: 16, k: 16 }, target), target);
  assert.throws(() => render(`${families[0].id}.cpp`, view), /k/);
});

test('numbers that C++ would read otherwise keep their type and their value', () => {
  const plan = planModel(sketch({ normEpsilon: 1, rope: { dimensions: 4, base: 1 } }));
  assert.is(modelView(plan, target, selectKernels(plan, target)).epsilon, '1.0f');
  assert.equal(attentionView(plan, target).frequencies, ['1.0', '1.0']);
  const small = planModel(sketch({ normEpsilon: 1e-7, rope: { dimensions: 4, base: 1e20 } }));
  const { epsilon } = modelView(small, target, selectKernels(small, target));
  assert.is(Math.fround(Number(epsilon.slice(0, -1))), Math.fround(1e-7));
  assert.equal(attentionView(small, target).frequencies.map(Number), [...small.ropeFrequencies]);
});

test('scratch of a thread holds what each of its users puts there', () => {
  const plan = planModel(sketch({ heads: 32, kvHeads: 1, context: 512 }));
  const { scratchBytes } = modelView(plan, target, selectKernels(plan, target));
  const { heads, kvHeads, context, ffn } = plan.hyper;
  assert.ok(scratchBytes >= 4 * (heads / kvHeads) * attentionView(plan, target).tokenBlock * context);
  assert.ok(scratchBytes >= 4 * ffn);
});

test('only a model with local layers asks which layer is one', () => {
  const text = (ir = sketch()) =>
    sourcesOf(ir)
      .map((source) => source.text)
      .join('\n');
  assert.match(text(GEMMA), 'constexpr bool kLocal[kLayers] = {true, false};');
  assert.match(text(GEMMA), 'kLocal[layer] ? 8 : INT32_MAX');
  for (const ir of [sketch(), QWEN]) assert.not.match(text(ir), /local|window/i);
});

test('every source is built, every kernel declared, and the output says what made it', () => {
  for (const ir of [sketch(), sketch({ architecture: 'llama', headEncoding: 'f32' }), GEMMA, QWEN]) {
    const sources = KINDS.flatMap((kernel) => sourcesOf(ir, kernel));
    const script = renderBuildScript(sources, target, 'abc');
    const declared = sources.flatMap(({ file, text }) => (file === 'kernels.h' ? text : [])).join();
    assert.match(script.text, /BN_MODEL_KEY=\\"abc\\"/);
    for (const { file, text } of sources) {
      if (!file.endsWith('.cpp')) continue;
      assert.ok(script.text.includes(`  ${file}\n`), file);
      assert.match(text, /^\/\/ Written from templates\/cpp\/\w+\.cpp\.hbs for target /m);
      if (file.startsWith('bn_')) assert.ok(declared.includes(`void ${file.replace('.cpp', '')}(`), file);
    }
  }
});

test('generated text is what a person would write: no tabs, no blanks at the end of lines, no holes', () => {
  const ragged = sketch({ architecture: 'llama', embedding: 100, ffn: 90, headEncoding: 'f32' });
  for (const ir of [sketch(), ragged, GEMMA, QWEN]) {
    const sources = KINDS.flatMap((kernel) => sourcesOf(ir, kernel));
    for (const { file, text } of [...sources, renderBuildScript(sources, target, 'key')]) {
      if (!text.includes('Written from')) continue;
      assert.not.match(text, /\t| $|\{\{|\}\}\}|undefined|NaN|\[object/m, file);
      assert.not.match(text, /\n\n\n/, `${file} has two blank lines`);
      assert.ok(text.endsWith('\n') && !text.endsWith('\n\n'), `${file} ends with one line break`);
    }
  }
});

test('every template of the folder belongs to a program', () => {
  const screened = planModel(sketch(), { screen: 4 });
  const sources = [
    ...KINDS.flatMap((kernel) => sourcesOf(sketch(), kernel)),
    ...renderSources(screened, target, selectKernels(screened, target)),
    ...renderKernels([specOf(families[0], { m: 16, k: 16 }, target)], target, 1),
  ];
  const scripts = [target, ...parseTargets('wasm-simd128')].map((one) => renderBuildScript(sources, one, 'key'));
  const used = new Set(
    [...sources, ...scripts].flatMap(({ text }) => /templates\/cpp\/(\S+\.hbs)/.exec(text)?.[1] ?? []),
  );
  const templates = readdirSync(templateFolder()).filter((file) => file.endsWith('.hbs'));
  for (const template of templates) assert.ok(used.has(template), join('templates/cpp', template));
});

test.run();
