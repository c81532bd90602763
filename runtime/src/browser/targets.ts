import type { Manifest, TargetEntry } from '../../../artifact/manifest.ts';
import { BitnetError } from '../../../errors.ts';
import type { NativeEngine } from '../addon.ts';
import { openWasm, type WasmFiles, type WasmOptions } from '../wasm/open.ts';
import { startThread } from './threads.ts';

/** What a browser may run, fastest first. */
export interface BrowserTarget {
  /** As the manifest's `targets` has it. */
  readonly id: string;
  /** Why this browser cannot run it, or undefined. */
  obstacle(): Promise<string | undefined>;
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
  async obstacle() {
    if (typeof WebAssembly === 'undefined') return 'this browser has no WebAssembly';
    return WebAssembly.validate(SIMD) ? undefined : 'the WebAssembly of this browser has no SIMD';
  },
  open: (options, files, wake) => openWasm(options, files, startThread, wake),
};

/** The fastest first. */
const TARGETS: readonly BrowserTarget[] = [wasm];

/** A target, and why it is not the one that runs. */
export interface Rejected {
  readonly target: string;
  readonly reason: string;
}

/** The target to run, of those wanted the first that artifact and browser have. @throws BitnetError where there is none */
export async function chooseBrowserTarget(
  manifest: Manifest,
  wanted: readonly string[] = TARGETS.map(({ id }) => id),
): Promise<{ target: BrowserTarget; entry: TargetEntry; rejected: readonly Rejected[] }> {
  const rejected: Rejected[] = [];
  for (const id of wanted) {
    const target = TARGETS.find((one) => one.id === id);
    if (!target) {
      throw new BitnetError(`there is no target ${id} for browsers, only ${TARGETS.map(({ id }) => id).join(', ')}`);
    }
    const entry = manifest.targets[id];
    const reason = entry ? await target.obstacle() : 'the model was not compiled for it';
    if (entry && reason === undefined) return { target, entry, rejected };
    rejected.push({ target: id, reason: reason! });
  }
  const reasons = rejected.map(({ target, reason }) => `${target} (${reason})`).join(', ');
  throw new BitnetError(`this browser runs none of the targets of ${manifest.model.name}: ${reasons}`, {
    hint: `Compile it for one: bitnet compile MODEL --target ${TARGETS.map(({ id }) => id).join()}.`,
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
