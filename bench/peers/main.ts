// The same random weights through this toolchain and through others, turn about, on the same threads:
//   npm run bench:peers -- [--ik PATH] [--bitnet PATH] [--llama PATH] [--skip-node-llama] [--ours 'default;kernel=tl2']
//                          [--shape 2b4t] [--heads f16,q6_k] [--threads N] [--rounds 6] [--prompt 128] [--new-tokens 32]
//                          [--out FILE] [--report FILE]
// PATH is a llama-bench, or the folder that holds it: of ik_llama.cpp, of bitnet.cpp, of llama.cpp. node-llama-cpp is
// installed from npm into the user's cache when it is first needed. Each engine's model files are made once, and kept there.
// --ours names settings of ours that take turns like engines, each the options of `bitnet run` with commas between them.
// What the others are compared with is the first.
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { probeMachine } from '../../artifact/machine.ts';
import { table } from '../../cli/format.ts';
import type { FloatEncodingName } from '../../compiler/ir/model.ts';
import { BitnetError } from '../../errors.ts';
import { loadAddon } from '../../runtime/src/addon.ts';
import { shapeByName } from '../shapes/index.ts';
import { type Engine, modelFile, type Speeds } from './engine.ts';
import { llamaBench } from './llama-bench.ts';
import { nodeLlama } from './node-llama.ts';
import { ours } from './ours.ts';
import { type MachineRound, PEER_HEADINGS, type PeerSummary, peerPage, peerTable, summarise } from './summary.ts';
import { readVariants } from './variants.ts';

const { values } = parseArgs({
  options: {
    ik: { type: 'string' },
    bitnet: { type: 'string' },
    llama: { type: 'string' },
    'skip-node-llama': { type: 'boolean', default: false },
    shape: { type: 'string', default: '2b4t' },
    ours: { type: 'string', default: 'default' },
    heads: { type: 'string', default: 'f16' },
    threads: { type: 'string' },
    rounds: { type: 'string', default: '6' },
    prompt: { type: 'string', default: '128' },
    'new-tokens': { type: 'string', default: '32' },
    out: { type: 'string' },
    report: { type: 'string' },
  },
});

const shape = shapeByName(values.shape);
const work = {
  threads: values.threads === undefined ? loadAddon().usableCores() : Number(values.threads),
  promptTokens: Number(values.prompt),
  newTokens: Number(values['new-tokens']),
};
/** What engines that know no bitnet-b1.58 read: the same sizes. */
const elder = shape.architecture === 'bitnet-b1.58' ? 'bitnet' : shape.architecture;

const variants = await readVariants(values.ours);
const machine: MachineRound[] = [];
const engines: Engine[] = [];
for (const head of values.heads.split(',') as FloatEncodingName[]) {
  for (const variant of variants) {
    const first = engines.length === 0;
    engines.push(
      await ours(await modelFile(values.shape, 'i2_s', head), variant, work, ({ readGBps, int8GMACps }) => {
        if (first) machine.push({ read: readGBps.median, int8: int8GMACps.median });
      }),
    );
  }
  if (values.ik) {
    const model = await modelFile(values.shape, 'iq2_bn', head);
    engines.push(llamaBench('ik_llama.cpp', values.ik, model, ['-rtr', '1']));
  }
  if (values.bitnet)
    engines.push(llamaBench('bitnet.cpp', values.bitnet, await modelFile(values.shape, 'i2_s', head, elder)));
  if (values.llama)
    engines.push(llamaBench('llama.cpp', values.llama, await modelFile(values.shape, 'tq2_0', head, elder)));
  if (!values['skip-node-llama']) engines.push(await nodeLlama(await modelFile(values.shape, 'tq2_0', head, elder)));
}

/** A round runs every engine once, the first of the last round last. */
const rounds = engines.map((): Speeds[] => []);
for (let round = 0; round < Number(values.rounds); round++) {
  for (let i = 0; i < engines.length; i++) {
    const index = (round + i) % engines.length;
    const { name, model } = engines[index]!;
    const speeds = await engines[index]!.run(work).catch((cause) => {
      throw new BitnetError(`${name} with ${model.path}: ${cause.message}`, { cause });
    });
    rounds[index]!.push(speeds);
    const figures = `prefill ${speeds.prefill.toFixed(1)}, decode ${speeds.decode.toFixed(1)} tokens/s`;
    console.error(`round ${round + 1}: ${name}, ${model.weights}, ${model.head}: ${figures}`);
  }
}
for (const engine of engines) await engine.close?.();

const { layers, embedding, heads, kvHeads, headDim, ffn } = shape;
const macsPerToken = layers * embedding * (2 * heads * headDim + 2 * kvHeads * headDim + 3 * ffn);
const summary: PeerSummary = {
  format: 1,
  date: new Date().toISOString().slice(0, 10),
  shape: values.shape,
  cpu: probeMachine().cpu,
  work,
  ...summarise(
    engines.map(({ name, model }, i) => ({ name, model, rounds: rounds[i]! })),
    machine,
    macsPerToken,
  ),
};
console.log(table(PEER_HEADINGS, peerTable(summary)));
const { readGBps, int8GMACps } = summary.machine;
console.log(`machine: reading ${readGBps.median.toFixed(1)} GB/s, ${int8GMACps.median.toFixed(0)} G int8 MAC/s`);
if (values.out) await writeFile(values.out, `${JSON.stringify(summary, null, 2)}\n`);
if (values.report) await writeFile(values.report, peerPage(summary));
