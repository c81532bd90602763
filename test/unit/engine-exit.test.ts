import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { packageRoot } from '../../package-root.ts';
import { readArtifact } from '../../runtime/src/index.ts';
import { CONTEXT, toyArtifact } from '../fixtures/toy-model/toy.ts';

// How a process or a worker ends while a model is open, in processes of their own, on the bare addon: workers of Node 20
// cannot load TypeScript.

const folder = toyArtifact({ delayUs: 500 });

async function run(script: string): Promise<{ status: number | null; signal: string | null; output: string }> {
  const { manifest } = await readArtifact(folder);
  const target = manifest.targets.toy!;
  const open = {
    library: join(folder, target.library),
    weights: join(folder, 'weights.bin'),
    weightsBytes: manifest.weights.toy!.bytes,
    key: target.key,
    kernels: target.kernels,
    threads: 2,
    pin: false,
    context: CONTEXT,
    kv: 'f16',
    sequences: 2,
    chunk: 16,
  };
  const generate = {
    maxTokens: 1000,
    vocab: 512,
    queue: 1000,
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    repetitionPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    penaltyLastN: 0,
    screen: false,
    seed: 0,
  };
  const prelude = `
    const addon = require(${JSON.stringify(join(packageRoot(), 'build', 'addon', 'bitnet.node'))});
    const open = (wake = () => {}) => addon.open(
      { ...${JSON.stringify(open)}, devices: new Int32Array(1) }, wake, () => {});
    const none = new Int32Array();
    const start = (engine) => engine.generate(Int32Array.of(0),
      { ...${JSON.stringify(generate)}, stopTokens: none, biasTokens: none, biases: new Float64Array() });
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));`;
  const whole = `${prelude}\nconst prelude = ${JSON.stringify(prelude)};\n(async () => {${script}})();`;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '-e', whole], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, signal, output: stdout + stderr };
}

const clean = { status: 0, signal: null, output: 'end\n' };

test('a process ends by itself while an idle model is open', async () => {
  assert.equal(await run(`await open(); console.log('end');`), clean);
});

test('a process stays for what somebody waits for', async () => {
  const script = `
    let engine, id;
    engine = await open(() => { if (engine.take(id)) console.log('end'); });
    id = start(engine);
    while (engine.take(id));`;
  assert.equal(await run(script), clean);
});

test('a process may exit while a model generates', async () => {
  assert.equal(await run(`start(await open()); await wait(5); console.log('end'); process.exit(0);`), clean);
});

test('a process may exit while a model is disposed of', async () => {
  const script = `const engine = await open(); start(engine); engine.dispose(); console.log('end'); process.exit(0);`;
  assert.equal(await run(script), clean);
});

test('a process may exit while a model is opened', async () => {
  assert.equal(await run(`open(); console.log('end'); process.exit(0);`), clean);
});

test('a model that nobody holds any more is collected, also while it generates', async () => {
  const script = `
    await (async () => { start(await open()); await open(); })();
    for (let i = 0; i < 3; i++) { await wait(5); gc(); }
    console.log('end');`;
  assert.equal(await run(script), clean);
});

test('workers may be terminated while their models generate', async () => {
  const script = `
    const { Worker } = require('node:worker_threads');
    const body = prelude + \`
      (async () => {
        const engine = await open();
        start(engine);
        require('node:worker_threads').parentPort.postMessage('running');
        await wait(60000);
      })();\`;
    const workers = [0, 1].map(() => new Worker(body, { eval: true }));
    await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once('message', resolve))));
    await Promise.all(workers.map((worker) => worker.terminate()));
    console.log('end');`;
  assert.equal(await run(script), clean);
});

test('an engine is made by open() alone', async () => {
  const script = `
    const engine = await open();
    try { new engine.constructor(); } catch (error) { console.log(error.message); }
    try { engine.take(7); } catch (error) { console.log(error.message); }`;
  const { output } = await run(script);
  assert.match(output, 'an engine is made by open()');
  assert.match(output, 'no request under way has the number 7');
});

test.run();
