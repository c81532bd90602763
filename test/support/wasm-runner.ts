import { readFileSync, writeFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { LAYOUT } from '../../runtime/src/wasm/abi.ts';
import { WasmExecutor } from '../../runtime/src/wasm/executor.ts';
import { Arena, Library, newMemory } from '../../runtime/src/wasm/library.ts';
import { enableRelaxedSimd } from '../../runtime/src/wasm/node.ts';
import { compileProgram } from '../../runtime/src/wasm/program.ts';
import { threadEntry } from '../../thread-entry.ts';
import type { Outcome } from './beds.ts';

/** Bytes of a pattern that a kernel may neither read as its own nor write, beside each of its buffers. */
const GUARD = 256;
const PATTERN = 0xa5;

const modules = new Map<string, Promise<WebAssembly.Module[]>>();

/** The modules of a program: the one that every engine takes, and with relaxed SIMD the one that this machine runs. */
function modulesOf(file: string): Promise<WebAssembly.Module[]> {
  const known = modules.get(file);
  if (known) return known;
  enableRelaxedSimd();
  const bytes = new Uint8Array(readFileSync(file));
  const all = Promise.all([WebAssembly.compile(bytes), compileProgram(bytes).then(({ module }) => module)]);
  modules.set(file, all);
  return all;
}

/** What both modules of a program give, which must be the same. */
async function ofBoth(file: string, run: (module: WebAssembly.Module) => Promise<Buffer> | Buffer): Promise<Buffer> {
  const [plain, relaxed] = await modulesOf(file);
  const [one, other] = [await run(plain!), await run(relaxed!)];
  if (!one.equals(other)) throw new Error(`${file} gives something else with relaxed SIMD than without`);
  return one;
}

const lines = (values: readonly object[]): Buffer =>
  Buffer.from(values.map((value) => `${JSON.stringify(value)}\n`).join(''));

function optionsOf(args: readonly string[]): Record<string, string> {
  const options: Record<string, string> = {};
  for (let i = 0; i < args.length; i += 2) options[args[i]!.slice(2)] = args[i + 1]!;
  return options;
}

async function executorOf(
  module: WebAssembly.Module,
  weights: string,
  context: number,
  options: Record<string, string>,
) {
  const { memory } = newMemory();
  const bytes = readFileSync(weights);
  const executor = new WasmExecutor(new Library(module, memory), {
    weightsBytes: bytes.length,
    threads: Number(options.threads ?? 1),
    context,
    kv: options.kv === 'f32' ? 'f32' : 'f16',
    sequences: 1,
  });
  executor.weights.set(bytes);
  const helpers = executor.team.places(executor.arena).map(async (place) => {
    const entry = threadEntry(new URL('../../runtime/src/wasm/node.ts', import.meta.url).href, './node-thread');
    const workerData = { role: 'helper', module, memory, place };
    const worker = new Worker(entry, { eval: true, workerData, execArgv: [] });
    await new Promise((resolve) => worker.once('online', resolve));
    return worker;
  });
  return { executor, helpers: await Promise.all(helpers) };
}

async function selfTest([library, weights]: readonly string[]): Promise<Buffer> {
  return ofBoth(library!, async (module) => {
    const { executor } = await executorOf(module, weights!, 16, {});
    return lines(executor.selfTest());
  });
}

async function list([library]: readonly string[]): Promise<Buffer> {
  return ofBoth(library!, (module) => {
    const { kernels } = new Library(module, newMemory().memory).info;
    return lines(kernels.map(({ name, m, k, maxTokens, scratchBytes }) => ({ name, m, k, maxTokens, scratchBytes })));
  });
}

async function logits([library, weights, ...rest]: readonly string[]): Promise<Buffer> {
  const options = optionsOf(rest);
  const ids = options.tokens!.split(',').map(Number);
  const outputs = await ofBoth(library!, async (module) => {
    const { executor, helpers } = await executorOf(module, weights!, ids.length, options);
    const chunk = Math.min(Number(options.chunk ?? executor.maxTokens), executor.maxTokens);
    const rows = new Float32Array(ids.length * executor.vocab);
    const hidden = new Float32Array(ids.length * executor.embedding);
    for (let from = 0; from < ids.length; from += chunk) {
      const output = executor.step(
        ids.slice(from, from + chunk).map((id, i) => ({
          id,
          position: from + i,
          sequence: 0,
          logitsRow: i,
          hiddenRow: i,
        })),
      );
      rows.set(output.logits, from * executor.vocab);
      hidden.set(output.hidden, from * executor.embedding);
    }
    executor.team.end();
    await Promise.all(helpers.map((helper) => helper.terminate()));
    writeFileSync(options.out!, rows);
    if (options.hidden) writeFileSync(options.hidden, hidden);
    return Buffer.concat([Buffer.from(rows.buffer), Buffer.from(hidden.buffer)]);
  });
  return outputs.subarray(0, 0);
}

/**
 * Runs one kernel. With relaxed SIMD once for each of its buffers, which is then the last that there is of the memory: reading
 * on is a trap.
 */
async function kernel([library, name, input, output]: readonly string[]): Promise<Buffer> {
  const [plain, relaxed] = await modulesOf(library!);
  const bytes = readFileSync(input!);
  const y = runKernel(plain!, name!, bytes, 0);
  for (let last = 0; last < 6; last++) {
    if (runKernel(relaxed!, name!, bytes, last).equals(y)) continue;
    throw new Error(`kernel ${name} gives something else with relaxed SIMD, or elsewhere in memory`);
  }
  writeFileSync(output!, y);
  return Buffer.alloc(0);
}

function runKernel(module: WebAssembly.Module, name: string, input: Buffer, last: number): Buffer {
  const { memory } = newMemory();
  const library = new Library(module, memory);
  const kernel = library.info.kernels.find((one) => one.name === name);
  if (!kernel) throw new Error(`there is no kernel ${name}`);
  const arena = new Arena(memory, library.heap);
  library.useStack(library.stackIn(arena));
  const layout = LAYOUT.bn_bitlinear_args;
  const args = arena.take(layout.size, 'arguments');
  const [tokens, accumulate, begin, end, m, k] = [0, 4, 8, 12, 16, 20].map((at) => input.readInt32LE(at)) as number[];
  const sizes = [kernel.weightBytes, m! / 4, tokens! * k!, tokens! * 8, tokens! * m! * 4, kernel.scratchBytes];
  const places = sizes.map((size) => arena.take(size + 2 * GUARD, 'a buffer') + GUARD);
  const at = memory.buffer.byteLength;
  memory.grow(Math.ceil((sizes[last]! + 2 * GUARD) / 65536));
  places[last] = Math.floor((memory.buffer.byteLength - sizes[last]!) / 4) * 4;

  const bytes = new Uint8Array(memory.buffer);
  bytes.fill(PATTERN, at);
  let read = 24;
  for (const [i, size] of sizes.entries()) {
    bytes.fill(PATTERN, places[i]! - GUARD, places[i]! + size + GUARD);
    if (i < 5) bytes.set(input.subarray(read, read + size), places[i]);
    read += size;
  }
  const view = new DataView(memory.buffer, args);
  for (const [i, member] of (['weights', 'group_scales', 'q', 'quant', 'y', 'scratch'] as const).entries()) {
    view.setUint32(layout[member], places[i]!, true);
  }
  view.setBigInt64(layout.y_stride, BigInt(m!), true);
  view.setInt32(layout.tokens, tokens!, true);
  view.setInt32(layout.accumulate, accumulate!, true);
  library.function(kernel.run)(args, begin!, end!);
  for (const [i, size] of sizes.entries()) {
    const beside = [
      bytes.subarray(places[i]! - GUARD, places[i]),
      bytes.subarray(places[i]! + size).subarray(0, GUARD),
    ];
    if (!beside.every((guard) => guard.every((byte) => byte === PATTERN))) {
      throw new Error(`kernel ${name} wrote beside its buffers`);
    }
  }
  return Buffer.from(bytes.slice(places[4], places[4]! + sizes[4]!));
}

const COMMANDS: Readonly<Record<string, (args: readonly string[]) => Promise<Buffer>>> = {
  list,
  selftest: selfTest,
  logits,
  kernel,
};

/** What runtime/native/runner.cpp does, for programs in WebAssembly. */
export async function runWasm([command, ...args]: readonly string[]): Promise<Outcome> {
  try {
    return { code: 0, stdout: await COMMANDS[command!]!(args), stderr: '' };
  } catch (error) {
    return { code: 1, stdout: Buffer.alloc(0), stderr: `${(error as Error).message}\n` };
  }
}
