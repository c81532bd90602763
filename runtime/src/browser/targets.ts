import type { Manifest, TargetEntry } from '../../../artifact/manifest.ts';
import { BitnetError } from '../../../errors.ts';
import type { NativeEngine } from '../addon.ts';
import { openInThread } from '../portable/thread.ts';
import { openWasm, type WasmFiles, type WasmOptions } from '../wasm/open.ts';
import { whyNoWebGl } from '../webgl/context.ts';
import { startThread, webGlThreads } from './threads.ts';

/** What a browser may run, fastest first. */
export interface BrowserTarget {
  /** As the manifest's `targets` has it. */
  readonly id: string;
  /** Why this browser cannot run it, or should not unless that was asked for by name; undefined where nothing is in the way. */
  obstacle(asked: boolean): Promise<string | undefined>;
  /** Whether another may do where this one does not open: it has memory, and a driver, of its own. */
  readonly apart: boolean;
  open(options: WasmOptions, files: WasmFiles, wake: (id: number) => void): Promise<NativeEngine>;
}

/** (func (result v128) i32.const 0 i8x16.splat), which needs SIMD. */
const SIMD = Uint8Array.of(
  0,
  97,
  115,
  109,
  1,
  0,
  0,
  0,
  1,
  5,
  1,
  96,
  0,
  1,
  123,
  3,
  2,
  1,
  0,
  10,
  8,
  1,
  6,
  0,
  65,
  0,
  253,
  15,
  11,
);

const wasm: BrowserTarget = {
  id: 'wasm-simd128',
  apart: false,
  async obstacle() {
    if (typeof WebAssembly === 'undefined') return 'this browser has no WebAssembly';
    return WebAssembly.validate(SIMD) ? undefined : 'the WebAssembly of this browser has no SIMD';
  },
  open: (options, files, wake) => openWasm(options, files, startThread, wake),
};

const webgpu: BrowserTarget = {
  id: 'webgpu',
  apart: true,
  async obstacle(asked) {
    if (!navigator.gpu) {
      return isSecureContext
        ? 'this browser has no WebGPU'
        : 'WebGPU is for pages that come by https or from localhost';
    }
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) return 'WebGPU reaches no GPU here';
    return adapter.info.isFallbackAdapter && !asked ? 'what WebGPU reaches here is no GPU but the CPU' : undefined;
  },
  open(options, { program, weights }, wake) {
    const start = { role: 'webgpu', program: new TextDecoder().decode(program), options } as const;
    return openInThread(start, weights, options.weightsBytes, startThread, wake);
  },
};

/** Prompt tokens of a step on WebGL: it is slow, and a request that is cancelled waits for the step. */
const WEBGL_CHUNK = 32;

/** The ternary matrices on a GPU, the rest in one thread: for browsers that have nothing better. */
const webgl: BrowserTarget = {
  id: 'webgl',
  apart: true,
  obstacle: async () => whyNoWebGl(),
  async open({ threads, chunk, ...options }, { program, weights }, wake) {
    const text = new TextDecoder().decode(program);
    const start = { role: 'webgl', program: text, options, chunk: Math.min(chunk, WEBGL_CHUNK) } as const;
    return openInThread(start, weights, options.weightsBytes, await webGlThreads(), wake);
  },
};

/** The fastest first. */
const TARGETS: readonly BrowserTarget[] = [webgpu, wasm, webgl];

/** A target, and why it is not the one that runs. */
export interface Rejected {
  readonly target: string;
  readonly reason: string;
}

/**
 * The targets that artifact and browser have, of those wanted, best first; `rejected` is told why others before them are none.
 * @throws BitnetError where one is wanted that is for no browser
 */
export async function* ableTargets(
  manifest: Manifest,
  wanted: readonly string[] | undefined,
  rejected: Rejected[],
): AsyncGenerator<{ target: BrowserTarget; entry: TargetEntry }, void, void> {
  for (const id of wanted ?? TARGETS.map(({ id }) => id)) {
    const target = TARGETS.find((one) => one.id === id);
    if (!target) {
      throw new BitnetError(`there is no target ${id} for browsers, only ${TARGETS.map(({ id }) => id).join(', ')}`);
    }
    const entry = manifest.targets[id];
    const reason = entry ? await target.obstacle(wanted !== undefined) : 'the model was not compiled for it';
    if (entry && reason === undefined) yield { target, entry };
    else rejected.push({ target: id, reason: reason! });
  }
}

/** That nothing is left to run. */
export function nothingRuns(manifest: Manifest, rejected: readonly Rejected[]): BitnetError {
  const reasons = rejected.map(({ target, reason }) => `${target} (${reason})`).join(', ');
  return new BitnetError(`this browser runs none of the targets of ${manifest.model.name}: ${reasons}`, {
    hint: `Compile it for one: bitnet compile MODEL --target ${TARGETS.map(({ id }) => id).join()} --web DIR.`,
  });
}

/**
 * Threads that a model runs on unless it is told otherwise: half of what the browser counts, which are hyperthreads, and where
 * pages of other origins may share the process, one.
 * @throws BitnetError where more than one is asked for, and the page may not have them
 */
export function threadsHere(asked: number | undefined): number {
  if (crossOriginIsolated) return asked ?? Math.min(8, Math.max(2, Math.ceil(navigator.hardwareConcurrency / 2)));
  if (asked === undefined || asked === 1) return 1;
  throw new BitnetError(
    `${asked} threads were asked for, and this page may have one: it is not cross-origin isolated`,
    {
      hint: 'Serve it with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.',
    },
  );
}
