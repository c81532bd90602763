import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findNvcc, type Nvcc } from '../../compiler/build/nvcc.ts';
import { planForGpu } from '../../compiler/passes/index.ts';
import { renderCuda } from '../../compiler/render/cuda/index.ts';
import { BitnetError } from '../../errors.ts';
import { cuda } from '../../targets/index.ts';
import { skip } from '../support/beds.ts';
import { sketch } from '../support/model-ir.ts';
import { temporaryFolder } from '../support/temporary.ts';

const run = promisify(execFile);

/** Heads of 128 and a head in tiles; and norms wherever there may be some, a window, and sizes that are no whole tiles. */
const MODELS = {
  flash: sketch({ embedding: 256, ffn: 384, heads: 4, kvHeads: 2, headDim: 128, embeddingEncoding: 'q6_k' }),
  norms: sketch({
    architecture: 'gemma3',
    embedding: 72,
    ffn: 90,
    headDim: 24,
    inputNorms: true,
    window: { positions: 20, local: [true, false], ropeBase: 100 },
  }),
};

const build = suite('cuda, built');

async function nvccOrWhy(): Promise<Nvcc | string> {
  try {
    return await findNvcc();
  } catch (error) {
    if (error instanceof BitnetError) return error.message;
    throw error;
  }
}

const nvcc = await nvccOrWhy();
for (const [name, ir] of Object.entries(MODELS)) {
  for (const architecture of ['80', '90a']) {
    const title = `the program of ${name} builds for sm_${architecture} without a warning`;
    if (typeof nvcc === 'string') {
      skip(build, title, nvcc);
      continue;
    }
    build(title, async () => {
      const folder = temporaryFolder('cuda');
      for (const { file, text } of renderCuda(planForGpu(ir))) await writeFile(join(folder, file), text);
      const flags = [...cuda.flags, `-arch=compute_${architecture}`, '-DBN_MODEL_KEY="key"', '-Werror=all-warnings'];
      // To PTX only: warnings are the front end's, and assembling it takes longer.
      const { stderr } = await run(nvcc.command, [...flags, '-ptx', '-o', 'model.ptx', 'model.cu'], { cwd: folder });
      assert.is(stderr, '');
    });
  }
}

build.run();
