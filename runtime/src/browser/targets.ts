import type { Manifest } from '../../../artifact/manifest.ts';
import { BitnetError } from '../../../errors.ts';
import type { NativeEngine } from '../addon.ts';
import { openInThread } from '../portable/thread.ts';
import { openWasm, type WasmFiles, type WasmOptions } from '../wasm/open.ts';
import { whyNoWebGl } from '../webgl/context.ts';
import { isFallback } from '../webgpu/device.ts';
import { saidOf } from './said.ts';
import { COMPILE } from './tar.ts';
import { startThread, webGlThreads } from './threads.ts';

/** What a browser may run, fastest first. */
export interface BrowserTarget {
  /** As the manifest's `targets` has it. */
  readonly id: string;
  /** Why this browser cannot run it, or should not unless that was asked for by name; undefined where nothing is in the way. */
  obstacle(asked: boolean): Promise<string | undefined>;
  open(
    options: WasmOptions,
    files: WasmFiles,
    wake: (id: number) => void,
    signal: AbortSignal | undefined,
  ): Promise<NativeEngine>;
}

/** (func (result v128) i32.const 0 i8x16.splat), which needs SIMD. */
// biome-ignore format: sections of a module, one a line
const SIMD = Uint8Array.of(
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7b,
  0x03, 0x02, 0x01, 0x00,
  0x0a, 0x08, 0x01, 0x06, 0x00, 0x41, 0x00, 0xfd, 0x0f, 0x0b,
);

const wasm: BrowserTarget = {
  id: 'wasm-simd128',
  async obstacle() {
    if (typeof WebAssembly === 'undefined') return 'this browser has no WebAssembly';
    return WebAssembly.validate(SIMD) ? undefined : 'the WebAssembly of this browser has no SIMD';
  },
  open: (options, files, wake, signal) => openWasm(options, files, startThread, wake, signal),
};

const webgpu: BrowserTarget = {
  id: 'webgpu',
  async obstacle(asked) {
    if (!navigator.gpu) {
      return isSecureContext
        ? 'this browser has no WebGPU'
        : 'WebGPU is for pages that come by https or from localhost';
    }
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) return 'WebGPU reaches no GPU here';
    return isFallback(adapter) && !asked ? 'what WebGPU reaches here is no GPU but the CPU' : undefined;
  },
  open(options, { program, weights }, wake, signal) {
    const start = { role: 'webgpu', program: new TextDecoder().decode(program), options } as const;
    return openInThread(start, weights, options.weightsBytes, startThread, wake, signal);
  },
};

/** Prompt tokens of a step on WebGL: it is slow, and a request that is cancelled waits for the step. */
const WEBGL_CHUNK = 32;

/** The ternary matrices on a GPU, the rest in one thread: for browsers that have nothing better. */
const webgl: BrowserTarget = {
  id: 'webgl',
  obstacle: async () => whyNoWebGl(),
  async open({ threads, chunk, ...options }, { program, weights }, wake, signal) {
    const text = new TextDecoder().decode(program);
    const start = { role: 'webgl', program: text, options, chunk: Math.min(chunk, WEBGL_CHUNK) } as const;
    return openInThread(start, weights, options.weightsBytes, await webGlThreads(), wake, signal);
  },
};

/** The fastest first. */
const TARGETS: readonly BrowserTarget[] = [webgpu, wasm, webgl];

/** A target, and why it is not the one that runs. */
export interface Rejected {
  readonly target: string;
  readonly reason: string;
}

/** The targets to try, in order: those asked for, or all. @throws BitnetError where one is asked for that is for no browser */
export function wantedTargets(asked: readonly string[] | undefined): readonly BrowserTarget[] {
  return (
    asked?.map((id) => {
      const target = TARGETS.find((one) => one.id === id);
      if (target) return target;
      throw new BitnetError(`there is no target ${id} for browsers, only ${TARGETS.map(({ id }) => id).join(', ')}`);
    }) ?? TARGETS
  );
}

/** Why this browser does not run a target; undefined where nothing is in the way. */
export async function obstacleOf(target: BrowserTarget, asked: boolean): Promise<string | undefined> {
  try {
    return await target.obstacle(asked);
  } catch (cause) {
    return `this browser says: ${saidOf(cause)}`;
  }
}

/** That nothing is left to run: where one target was tried only, what `failure` says of it. */
export function nothingRuns(
  manifest: Manifest,
  rejected: readonly Rejected[],
  failure: BitnetError | undefined,
): BitnetError {
  if (failure && rejected.length === 1) return failure;
  const reasons = rejected.map(({ target, reason }) => `${target} (${reason})`).join(', ');
  return new BitnetError(`this browser runs none of the targets of ${manifest.model.name}: ${reasons}`, {
    hint: failure ? failure.hint : `${COMPILE}.`,
    cause: failure,
  });
}

/**
 * Threads that a model runs on unless it is told otherwise: half of what the browser counts, which are hyperthreads, and one
 * where pages of other origins may share the process, or the browser, as WebKitGTK does, shares no memory between threads.
 * @throws BitnetError where more than one is asked for, and the page may not have them
 */
export function threadsHere(asked: number | undefined): number {
  const counted = navigator.hardwareConcurrency;
  const shared = typeof SharedArrayBuffer === 'function';
  if (crossOriginIsolated && shared) return asked ?? Math.min(8, counted, Math.max(2, Math.ceil(counted / 2)));
  if (asked === undefined || asked === 1) return 1;
  const [reason, hint] = crossOriginIsolated
    ? ['this browser has no SharedArrayBuffer', 'Leave threads out, and there are as many as there may be.']
    : [
        'it is not cross-origin isolated',
        'Serve it by https or from localhost, with the headers Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.',
      ];
  throw new BitnetError(`${asked} threads were asked for, and this page may have one: ${reason}`, { hint });
}
