import { Project, ts } from 'ts-morph';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Manifest } from '../../artifact/manifest.ts';
import { ABI_VERSION, ARTIFACT_FORMAT } from '../../artifact/version.ts';
import { renderBinding } from '../../compiler/bindings/binding.ts';
import { sketch } from '../support/model-ir.ts';

const TEMPLATE = `{% for message in messages %}'{{ message.content }}'\n\`\${x}\`{% endfor %}`;

const target = {
  key: 'ab',
  library: 'ref/model.so',
  sha256: 'ab'.repeat(32),
  layout: 'i2',
  arch: 'any',
  features: [],
  rank: 0,
  compiler: 'g++',
  flags: [],
  kernels: [],
};

const manifest: Manifest = {
  format: ARTIFACT_FORMAT,
  abi: ABI_VERSION,
  compiler: '0.0.1',
  model: {
    name: 'A "quoted" \\ name\n// and more',
    architecture: 'bitnet-b1.58',
    sha256: 'ab'.repeat(32),
    parameters: 1000,
    layers: 2,
    embedding: 64,
    ffn: 128,
    heads: 4,
    kvHeads: 2,
    headDim: 16,
    vocab: 96,
    context: 64,
    activation: 'relu2',
    tiedHead: true,
  },
  tokenizer: { file: 'tokenizer.bin', sha256: 'cd'.repeat(32) },
  bytesPerToken: 1000,
  weights: {},
  targets: { ref: target, 'x86-avx2': target },
};

/** The front door as the binding sees it, and what Node adds to `import.meta`. */
const PACKAGE = `
export interface LoadOptions { readonly target?: string; readonly threads?: number }
export declare class Model { readonly vocab: number }
export declare function load(path: string, options?: LoadOptions): Promise<Model>;
declare global { interface ImportMeta { readonly dirname: string } }
`;

function bindingFor(chatTemplate: string | null): Promise<string> {
  const ir = sketch();
  return renderBinding(manifest, { ...ir, tokenizer: { ...ir.tokenizer, chatTemplate } });
}

/** Type-checks files in memory; what the checker says. */
function check(files: Readonly<Record<string, string>>): string[] {
  const project = new Project({
    compilerOptions: {
      strict: true,
      skipLibCheck: true,
      target: ts.ScriptTarget.ES2022,
      lib: ['lib.es2022.d.ts'],
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      types: [],
      paths: { 'bitnet-toolchain': ['/virtual/package.ts'] },
      allowImportingTsExtensions: true,
      noEmit: true,
    },
  });
  project.createSourceFile('/virtual/package.ts', PACKAGE);
  for (const [name, text] of Object.entries(files)) project.createSourceFile(`/virtual/${name}`, text);
  return project
    .getPreEmitDiagnostics()
    .map((diagnostic) => ts.flattenDiagnosticMessageText(diagnostic.compilerObject.messageText, '\n'));
}

test('the binding type-checks, its constants have literal types, and its targets are the only ones', async () => {
  const program = `
    import { chatTemplate, load, model, specialTokens, targets } from './index.ts';
    const layers: 2 = model.layers;
    const activation: 'relu2' = model.activation;
    const tied: true = model.tiedHead;
    const first: 'ref' = targets[0];
    const second: 'x86-avx2' = targets[1];
    const bos: 2 = specialTokens.bos.id;
    const text: '<s>' = specialTokens.bos.text;
    const none: null = specialTokens.unknown;
    const template: string | null = chatTemplate;
    load().then(({ vocab }) => vocab);
    load({ threads: 2, target: 'x86-avx2' });
    // @ts-expect-error: the artifact has no program for it
    load({ target: 'arm-neon' });
    // @ts-expect-error: it has two layers
    const three: 3 = model.layers;
    export { layers, activation, tied, first, second, bos, text, none, template, three };
  `;
  const files = { 'index.ts': await bindingFor(null), 'program.ts': program, 'other.ts': await bindingFor(TEMPLATE) };
  assert.equal(check(files), []);
});

test('names and chat templates of any text come out as they went in', async () => {
  const text = await bindingFor(TEMPLATE);
  const { outputText } = ts.transpileModule(text.replace(/^import .*'bitnet-toolchain';$/m, ''), {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 },
  });
  const module = await import(`data:text/javascript,${encodeURIComponent(outputText)}`);
  assert.is(module.chatTemplate, TEMPLATE);
  assert.is(module.model.name, manifest.model.name);
  assert.equal(module.targets, ['ref', 'x86-avx2']);
});

test('the same model gives the same bytes', async () => {
  assert.is(await bindingFor(TEMPLATE), await bindingFor(TEMPLATE));
});

test.run();
