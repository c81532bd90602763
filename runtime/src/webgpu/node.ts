import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { promisify } from 'node:util';
import { BitnetError } from '../../../errors.ts';
import type { NativeEngine, NativeOpenOptions } from '../addon.ts';
import { nameOf, noGpu, openDevice } from './device.ts';
import { openHere, openWebGpu } from './open.ts';

/** Read of the weights file at a time. */
const PIECE_BYTES = 4 << 20;

let loading: Promise<GPU> | undefined;

/**
 * WebGPU under Node, from the package `webgpu`, which is loaded once. BITNET_DAWN has options for it, with spaces: `backend=null`,
 * `enable-dawn-features=…`.
 * @throws BitnetError where it is not installed, or does not load
 */
export function loadWebGpu(): Promise<GPU> {
  // Kept as long as the process lives: Dawn aborts where devices outlive what has made them.
  loading ??= load();
  return loading;
}

async function load(): Promise<GPU> {
  for (const [name, value] of Object.entries(runtimeFolder())) process.env[name] ??= value;
  try {
    const { create } = await import('webgpu');
    return create((process.env.BITNET_DAWN ?? '').split(' ').filter(Boolean));
  } catch (cause) {
    throw missing(cause);
  }
}

function missing(cause: unknown): BitnetError {
  const { code, message, stderr } = cause as Error & { readonly code?: string; readonly stderr?: string };
  const why = /^\w*Error.*$/m.exec(stderr ?? '')?.[0] ?? message;
  return new BitnetError(code === 'ERR_MODULE_NOT_FOUND' ? 'WebGPU is not there' : `WebGPU does not load: ${why}`, {
    hint: 'Node has it from a package: npm install webgpu@0.6.2',
    cause,
  });
}

/** Some Vulkan drivers complain where it is missing. */
const runtimeFolder = (): Record<string, string> => (process.platform === 'linux' ? { XDG_RUNTIME_DIR: tmpdir() } : {});

/** Prints what is known of the GPU that a model would run on, or null. */
const PROBE = `
const { create } = await import(process.argv[1]);
const gpu = create((process.env.BITNET_DAWN ?? '').split(' ').filter(Boolean));
const adapter = await gpu.requestAdapter({ powerPreference: 'high-performance' });
const { vendor, architecture, description } = adapter?.info ?? {};
process.stdout.write(JSON.stringify(adapter && { vendor, architecture, description }), () => process.exit());`;

/**
 * The name of the GPU that target `webgpu` runs on. Another process looks for it: drivers print what they miss, and may crash.
 * @throws BitnetError that says why there is none: no package, or no GPU
 */
export async function findWebGpu(): Promise<string> {
  let found: string;
  try {
    const program = ['--input-type=module', '--eval', PROBE, import.meta.resolve('webgpu')];
    const env = { ...runtimeFolder(), ...process.env };
    ({ stdout: found } = await promisify(execFile)(process.execPath, program, { env }));
  } catch (cause) {
    throw missing(cause);
  }
  const info: Parameters<typeof nameOf>[0] | null = JSON.parse(found);
  if (info) return nameOf(info);
  throw noGpu();
}

/**
 * Opens a model on a GPU under Node.
 * @throws BitnetError where there is no WebGPU or no GPU, or the files are not what the manifest says
 */
export async function openWebGpuFiles(
  options: NativeOpenOptions,
  wake: (id: number) => void,
  loaded: (share: number) => void,
): Promise<NativeEngine> {
  const gpu = await loadWebGpu();
  const program = await readFile(options.library, 'utf8');
  const open = async () => {
    const weights = createReadStream(options.weights, { highWaterMark: PIECE_BYTES });
    return openWebGpu(await openDevice(gpu), options, program, weights, loaded);
  };
  return openHere(open, options.chunk, wake);
}
