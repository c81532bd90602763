import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { packageRoot } from '../../package-root.ts';
import { skip, testBeds } from '../support/beds.ts';
import { type Compiled, compileFor, type LogitsOptions, logitsOf } from '../support/logits.ts';
import { temporaryFolder } from '../support/temporary.ts';

/** Matrices whose rows and columns are no whole blocks of any layout. */
const MODEL = join(packageRoot(), 'test', 'fixtures', 'b158-ragged-i2s.gguf');
const TOKENS = [1, 17, 3, 250, 9, 41, 77, 5, 5, 12];

/** Factors of the scales of a layer's gate and up: what the gates let through, and what it is that they do not. */
const FACTORS: Readonly<Record<string, readonly [gate: number, up: number]>> = {
  'as it is': [1, 1],
  'no gate is open': [0, 1],
  'the gates are no numbers': [Number.NaN, 1],
  'up is infinite, and some gates are open': [1, Number.POSITIVE_INFINITY],
  'up is infinite, and no gate is open': [0, Number.POSITIVE_INFINITY],
  'up is no number, and no gate is open': [0, Number.NaN],
  'up overflows, and no gate is open': [0, 1e38],
};

const { beds, absent } = await testBeds();
const skipping = suite('skipping what meets a zero');
const folder = temporaryFolder('skip-zeros');

/** The model with other scales of gate and up in its last layer. */
function scaled(model: Compiled, [gate, up]: readonly [number, number], file: string): Compiled {
  const { tensors } = model.manifest.weights[model.manifest.targets[model.bed.target.id].layout];
  copyFileSync(model.weights, file);
  const bytes = readFileSync(file);
  const layer = model.manifest.model.layers - 1;
  const multiply = (name: string, factor: (group: number, groups: number) => number) => {
    const found = tensors.find((tensor) => tensor.name === `layer.${layer}.${name}_scales`);
    if (!found) return;
    for (let group = 0; group < found.cols; group++) {
      const at = found.offset + 4 * group;
      bytes.writeFloatLE(Math.fround(bytes.readFloatLE(at) * factor(group, found.cols)), at);
    }
  };
  multiply('gate', () => gate);
  multiply('up', () => up);
  multiply('gate_up', (group, groups) => (group < groups / 2 ? gate : up));
  writeFileSync(file, bytes);
  return { ...model, weights: file };
}

/** Bit for bit, but that one NaN is as good as another. */
async function bitsOf(model: Compiled, options: LogitsOptions): Promise<Buffer> {
  const rows = await logitsOf(model, TOKENS, join(folder, `${model.bed.target.id}.logits`), options);
  return Buffer.concat(rows.map((row) => new Uint8Array(row.map((v) => (Number.isNaN(v) ? Number.NaN : v)).buffer)));
}

for (const bed of beds) {
  for (const [title, factors] of Object.entries(FACTORS)) {
    skipping(`${title}: the same logits as without, on ${bed.target.id}`, async () => {
      const file = (name: string) => join(folder, `${bed.target.id}-${name}.bin`);
      const whole = scaled(await compileFor(bed, MODEL, folder, { skipZeros: false }), factors, file('whole'));
      const inPart = scaled(await compileFor(bed, MODEL, folder), factors, file('part'));
      const expected = await bitsOf(whole, { chunk: 1 });
      for (const options of [{ chunk: 1 }, { chunk: 1, threads: 2 }, { chunk: 1, threads: 5 }, { chunk: 4 }]) {
        assert.ok((await bitsOf(inPart, options)).equals(expected), JSON.stringify(options));
      }
    });
  }
}
for (const { target, reason } of absent) skip(skipping, `skipping on ${target.id}`, reason);

skipping('16 threads share a list shorter than they are many', async () => {
  const [bed] = beds;
  const whole = await compileFor(bed, MODEL, folder, { skipZeros: false });
  const expected = await bitsOf(whole, { chunk: 1 });
  assert.ok((await bitsOf(await compileFor(bed, MODEL, folder), { chunk: 1, threads: 16 })).equals(expected));
});

skipping.run();
