import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { importModel } from '../../compiler/import/index.ts';
import type { GgufBytes } from '../gguf-bytes.ts';
import { refusal } from '../support/refusal.ts';
import { type Description, synthetic } from '../support/synthetic-model.ts';
import { temporaryFolder } from '../support/temporary.ts';

// The keys of a GGUF file that only some architectures have: window, scale and pooling.

const folder = temporaryFolder('embed-keys');
let files = 0;

const GEMMA: Description = {
  architecture: 'gemma3',
  embedding: 64,
  ffn: 64,
  layers: 7,
  heads: 2,
  kvHeads: 1,
  headDim: 32,
  vocab: 32,
  ropeBase: 1e6,
  epsilon: 1e-6,
  embeddingEncoding: 'f16',
  seed: 1,
};

function write(description: Partial<Description>, more?: (file: GgufBytes) => void): string {
  const path = join(folder, `${files++}.gguf`);
  writeFileSync(path, synthetic({ ...GEMMA, ...description }, more).file);
  return path;
}

const read = (description: Partial<Description>, more?: (file: GgufBytes) => void) =>
  importModel(write(description, more));

test('a window: five of six layers are local and rotate by base 10000, unless the file says otherwise', async () => {
  const local = [true, true, true, true, true, false, true];
  const { hyper } = await read({ window: { positions: 512 } });
  assert.equal(hyper.window, { positions: 512, local, ropeBase: 10000 });
  const other = await read({ window: { positions: 9, pattern: 2, ropeBase: 777 } });
  assert.equal(other.hyper.window, {
    positions: 9,
    local: [true, false, true, false, true, false, true],
    ropeBase: 777,
  });
  const listed = [false, true, true, false, true, true, false];
  const list = await read({ window: { positions: 9, pattern: listed } });
  assert.equal(list.hyper.window!.local, listed);
});

test('no window where the file gives none, or no layer is local, or the architecture knows none', async () => {
  assert.is((await read({})).hyper.window, undefined);
  assert.is((await read({ window: { positions: 0 } })).hyper.window, undefined);
  assert.is((await read({ window: { positions: 9, pattern: 1 } })).hyper.window, undefined);
  assert.is((await read({ architecture: 'qwen3', window: { positions: 9 } })).hyper.window, undefined);
});

test('the scale of scores', async () => {
  assert.is((await read({})).hyper.attentionScale, undefined);
  assert.is((await read({ attentionScale: 0.0625 })).hyper.attentionScale, 0.0625);
});

test('the kind of pooling', async () => {
  const poolings = [];
  for (const pooling of [undefined, 0, 1, 2, 3]) poolings.push((await read({ pooling })).pooling);
  assert.equal(poolings, [undefined, undefined, 'mean', 'cls', 'last']);
});

test('what the keys cannot be is refused by name', async () => {
  const message = async (description: Partial<Description>, more?: (file: GgufBytes) => void) =>
    (await refusal(() => read(description, more))).message;
  assert.match(await message({ pooling: 4 }), /gemma3\.pooling_type is 4, not an integer from 0 to 3/);
  assert.match(
    await message({ window: { positions: 9, pattern: [true, false] } }),
    /gemma3\.attention\.sliding_window_pattern has 2 entries for 7 layers/,
  );
  const capped = (file: GgufBytes) => file.f32('gemma3.final_logit_softcapping', 30);
  assert.match(await message({}, capped), /gemma3\.final_logit_softcapping asks for soft capping/);
  assert.is((await read({}, (file) => file.f32('gemma3.attn_logit_softcapping', 0))).hyper.window, undefined);
  const words = (file: GgufBytes) => file.text('gemma3.attention.scale', 'big');
  assert.match(await message({}, words), /gemma3\.attention\.scale is "big"/);
});

test.run();
