import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { compile, formatKernelConfig, parseKernelConfig } from '../../compiler/index.ts';
import { packageRoot } from '../../package-root.ts';
import { nativeTarget } from '../../targets/index.ts';
import { skip, testBeds } from '../support/beds.ts';
import { assertSelfTest, type Compiled, compileFor, logitsOf } from '../support/logits.ts';
import { temporaryFolder } from '../support/temporary.ts';

const FIXTURES = join(packageRoot(), 'test', 'fixtures');
const fixtures = readdirSync(FIXTURES).filter((file) => file.endsWith('.gguf'));
/** The one that every target is tried with; the others on this machine's own only. */
const EVERYWHERE = 'b158-ragged-i2s.gguf';

const { beds, absent } = await testBeds();
const kernels = suite('a model by every kernel');
const folder = temporaryFolder('model-kernels');

/** Float32 logits as bytes: a prompt at once, which takes GEMMs, and then token by token, which takes GEMVs. */
async function logitBytes(model: Compiled, file: string): Promise<Buffer> {
  const tokens = [1, 17, 3, 250, 9, 41, 77];
  const rows: Float32Array[] = [];
  for (const chunk of [tokens.length, 1]) rows.push(...(await logitsOf(model, tokens, file, { chunk })));
  return Buffer.concat(rows.map((row) => new Uint8Array(row.slice().buffer)));
}

for (const bed of beds) {
  const tried = bed.target.id === nativeTarget().id ? fixtures : [EVERYWHERE];
  for (const fixture of tried) {
    kernels(
      `${fixture} on ${bed.target.id}: i2, tl1 and tl2, with and without skipping, give the same logits, bit for bit`,
      async () => {
        const file = join(folder, `${fixture}-${bed.target.id}`);
        const bytes: Buffer[] = [];
        for (const kernel of ['i2', 'tl1', 'tl2'] as const) {
          for (const skipZeros of [false, true]) {
            const model = await compileFor(bed, join(FIXTURES, fixture), folder, { kernel, skipZeros });
            const { kernels: used, layout } = model.manifest.targets[bed.target.id];
            const skips = skipZeros && model.manifest.model.activation === 'relu2';
            assert.ok(layout.startsWith(`${kernel}_`));
            const others = used.filter(
              ({ name }) => !name.startsWith(`bn_bitlinear_${kernel}_`) || /_i2_(rows|columns)_/.test(name),
            );
            assert.equal(new Set(others.flatMap(({ uses }) => uses)), new Set(skips ? ['up', 'down'] : []));
            await assertSelfTest(model);
            bytes.push(await logitBytes(model, file));
          }
        }
        for (const other of bytes) assert.ok(other.equals(bytes[0]));
      },
    );
  }
}
for (const { target, reason } of absent) skip(kernels, `kernels on ${target.id}`, reason);

kernels('matrices that a configuration takes apart give the same logits, and its sections come back', async () => {
  const bed = beds.find(({ target }) => target.id === nativeTarget().id)!;
  const source = join(FIXTURES, 'b158-i2s.gguf');
  const whole = await compileFor(bed, source, folder);
  const { sections } = await compile(source, { target: bed.target.id, out: folder, kernel: 'tl2' });
  // Keys and values get a tile of their own: they leave the queries.
  const text = formatKernelConfig(
    sections.map((section) => (section.m === 128 ? { ...section, BM: 64, bm: 16 } : section)),
  );
  const config = parseKernelConfig(text, 'edited.ini');
  const apart = await compileFor(bed, source, folder, { config });
  const uses = apart.manifest.targets[bed.target.id].kernels.flatMap((kernel) => kernel.uses);
  for (const use of ['query', 'key', 'value', 'gate', 'up', 'down']) assert.ok(uses.includes(use), use);
  await assertSelfTest(apart);
  const file = join(folder, 'apart');
  assert.ok((await logitBytes(apart, file)).equals(await logitBytes(whole, file)));
  const again = await compile(source, { target: bed.target.id, out: folder, config });
  assert.ok(again.cached);
  assert.is(formatKernelConfig(again.sections), text);
  assert.ok(!readFileSync(join(again.artifact, 'manifest.json'), 'utf8').includes(folder));
});

kernels.run();
