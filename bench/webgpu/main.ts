// Target webgpu on one machine with a GPU: checks against the reference and times, and shaders of others on the same shapes.
//   node --import tsx bench/webgpu/main.ts [--only info,golden,story,times,variants,peer] [--shape 2b4t] [--head q6_k]
//                                          [--peer FOLDER] [--tokens 128] [--json FILE]
// On a bare machine: npm run bench:webgpu makes a folder that has all it needs; run its run.sh there.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { golden, story } from './checks.ts';
import { info } from './info.ts';
import { peer } from './peer.ts';
import { times, variants } from './times.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'info,golden,story,times,variants,peer' },
    shape: { type: 'string', default: '2b4t' },
    head: { type: 'string', default: 'q6_k' },
    tokens: { type: 'string', default: '128' },
    // A file for what is measured through the whole engine.
    json: { type: 'string' },
    // Shaders of 0xBitNet, as its packages/core/src/shaders has them.
    peer: { type: 'string', default: '0xbitnet' },
  },
});

export interface Asked {
  readonly scratch: string;
  readonly shape: string;
  readonly head: 'f16' | 'q8_0' | 'q6_k';
  readonly tokens: number;
  readonly json: string | undefined;
  readonly peer: string;
}

const scratch = await mkdtemp(join(tmpdir(), 'bitnet-webgpu-'));
const asked: Asked = {
  scratch,
  shape: values.shape,
  head: values.head as Asked['head'],
  tokens: Number(values.tokens),
  json: values.json,
  peer: values.peer,
};
const work: Readonly<Record<string, (asked: Asked) => Promise<void>>> = { info, golden, story, times, variants, peer };
try {
  for (const part of values.only.split(',')) {
    console.log(`---- ${part}`);
    const start = performance.now();
    try {
      await work[part]!(asked);
    } catch (error) {
      // The parts after it tell something all the same.
      console.error(`BAD ${part}:`, error);
      process.exitCode = 1;
    }
    console.log(`${part} took ${((performance.now() - start) / 1000).toFixed(1)} s`);
  }
} finally {
  await rm(scratch, { recursive: true, force: true });
}
