import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { packageRoot } from '../../package-root.ts';
import { type Bed, skip, testBeds } from '../support/beds.ts';
import { assertLogits, assertSelfTest, type Compiled, compileFor, logitsOf } from '../support/logits.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { rowsOnWebGl } from '../support/webgl.ts';

interface Fixture {
  readonly model: string;
  readonly tokens: readonly number[];
  /** File of float32 logits, [tokens][vocab]. */
  readonly logits: string;
  /** What greedy decoding appends. */
  readonly greedy: readonly number[];
}

const FIXTURES = join(packageRoot(), 'test', 'fixtures');
const fixtures = readdirSync(FIXTURES)
  .filter((file) => file.endsWith('.json'))
  .map((file): Fixture => JSON.parse(readFileSync(join(FIXTURES, file), 'utf8')))
  .filter(({ logits }) => logits !== undefined);

const { beds, absent } = await testBeds();
const golden = suite('golden models');
const folder = temporaryFolder('golden');

function referenceLogits({ logits, tokens }: Fixture): Float32Array[] {
  const all = new Float32Array(new Uint8Array(readFileSync(join(FIXTURES, logits))).buffer);
  const vocab = all.length / tokens.length;
  return tokens.map((_, i) => all.subarray(i * vocab, (i + 1) * vocab));
}

const bits = (rows: readonly Float32Array[]) => Buffer.concat(rows.map((row) => new Uint8Array(row.slice().buffer)));

const bestOf = (logits: Float32Array) => logits.indexOf(Math.max(...logits));

function registerFor(bed: Bed, fixture: Fixture): void {
  const title = `${fixture.model} on ${bed.target.id}`;
  const file = join(folder, `${fixture.model}-${bed.target.id}`);
  let compiling: Promise<Compiled> | undefined;
  const compiled = () => {
    compiling ??= compileFor(bed, join(FIXTURES, fixture.model), folder);
    return compiling;
  };

  golden(`${title}: logits`, async () => {
    assertLogits(await logitsOf(await compiled(), fixture.tokens, file), referenceLogits(fixture));
  });

  golden(`${title}: greedy tokens`, async () => {
    const tokens = [...fixture.tokens, ...fixture.greedy];
    const logits = await logitsOf(await compiled(), tokens, file);
    assert.equal(logits.slice(fixture.tokens.length - 1, -1).map(bestOf), [...fixture.greedy]);
  });

  golden(`${title}: the same logits, bit for bit, in any batches and on any number of threads`, async () => {
    const model = await compiled();
    const whole = await logitsOf(model, fixture.tokens, file);
    for (const options of [{ chunk: 1 }, { chunk: 5 }, { threads: 2 }, { threads: 3, chunk: 7 }]) {
      const other = await logitsOf(model, fixture.tokens, file, options);
      assert.ok(bits(other).equals(bits(whole)), JSON.stringify(options));
    }
  });

  golden(`${title}: the self-test gives the manifest's checksums`, async () => {
    await assertSelfTest(await compiled());
  });
}

for (const fixture of fixtures) {
  for (const bed of beds) registerFor(bed, fixture);
  for (const { target, reason } of absent) skip(golden, `${fixture.model} on ${target.id}`, reason);

  golden(
    `${fixture.model}: the same logits, bit for bit, on ${beds.map(({ target }) => target.id).join(', ')} and webgl`,
    async () => {
      const file = join(folder, `${fixture.model}-all`);
      const logits: Buffer[] = [];
      for (const bed of beds) {
        const model = await compileFor(bed, join(FIXTURES, fixture.model), folder);
        logits.push(bits(await logitsOf(model, fixture.tokens, file)));
      }
      for (const [i, other] of logits.entries()) assert.ok(other.equals(logits[0]), beds[i].target.id);
      const { logits: webGl } = await rowsOnWebGl(join(FIXTURES, fixture.model), folder, fixture.tokens);
      assert.ok(bits(webGl).equals(logits[0]), 'webgl');
    },
  );
}

golden('there are models to try', () => assert.ok(fixtures.length >= 4));

golden.run();
