import { join } from 'node:path';
import { WASM, WEBGPU } from '../../artifact/machine.ts';
import { BitnetError } from '../../errors.ts';
import { defaultThreads, loadAddon, type NativeEngine, type NativeOpenOptions } from './addon.ts';
import {
  checkLibrary,
  chooseDevices,
  chooseTarget,
  hasDevices,
  isForGpu,
  nameForGpus,
  readArtifact,
  readTokenizer,
} from './artifact.ts';
import { Engine } from './engine.ts';
import { contextOf, expectedOf, weightsOf } from './manifest.ts';
import { Model } from './model.ts';
import { checkLoadOptions, type LoadOptions } from './options.ts';
import { createTokenizer } from './tokenizer/index.ts';
import { openWasmFiles } from './wasm/node.ts';
import { openWebGpuFiles } from './webgpu/node.ts';

/** Prompt tokens of a step: what takes a few milliseconds on a GPU takes a tenth of a second and more on a CPU. */
const CPU_CHUNK = 128;
const GPU_CHUNK = 2048;
/** Any GPU, also a small one, whose driver ends what takes seconds. */
const WEBGPU_CHUNK = 256;

const resident = () => process.memoryUsage.rss();

/**
 * Opens an artifact: checks it, picks a target that this machine can run, and lets its kernels test themselves.
 * @throws BitnetError where the folder is no artifact, nothing in it runs here, or the self-test fails
 */
export async function openArtifact(folder: string, options: LoadOptions = {}): Promise<Model> {
  const checked = checkLoadOptions(options);
  const { contextLength, onProgress, signal } = checked;
  signal?.throwIfAborted();
  onProgress?.({ stage: 'manifest' });
  const artifact = await readArtifact(folder);
  const { manifest } = artifact;
  const target = chooseTarget(manifest, nameForGpus(checked.target, checked.devices?.length));
  const entry = manifest.targets[target]!;
  const weights = weightsOf(manifest, entry);
  const context = contextOf(manifest, contextLength);

  onProgress?.({ stage: 'tokenizer' });
  const tables = await readTokenizer(artifact);
  const tokenizer = createTokenizer(tables);
  signal?.throwIfAborted();

  const onGpu = isForGpu(entry);
  for (const option of ['device', 'devices'] as const) {
    if (checked[option] === undefined || hasDevices(entry)) continue;
    throw new BitnetError(`option ${option} is for target cuda, and this is ${target}`, { hint: 'Leave it out.' });
  }
  const devices = chooseDevices(entry, checked);
  const uploaded = (fraction: number) => {
    onProgress?.({ stage: 'upload', fraction });
    if (fraction === 1) onProgress?.({ stage: 'self-test' });
  };
  if (!onGpu) onProgress?.({ stage: 'self-test' });
  const engineOptions = {
    library: await checkLibrary(artifact, entry),
    weights: join(artifact.folder, weights.file),
    weightsBytes: weights.bytes,
    ...expectedOf(entry),
    threads: checked.threads ?? defaultThreads(),
    pin: checked.pin,
    context,
    kv: checked.kv,
    sequences: checked.sequences,
    chunk: checked.prefillChunk ?? (hasDevices(entry) ? GPU_CHUNK : onGpu ? WEBGPU_CHUNK : CPU_CHUNK),
    devices: Int32Array.from(devices),
  };
  const engine = await Engine.open((wake) => openEngine(entry.arch, engineOptions, wake, uploaded));
  if (signal?.aborted) {
    await engine.dispose();
    throw signal.reason;
  }
  onProgress?.({ stage: 'ready' });
  const { chatTemplate } = tables.scalars;
  return new Model({ manifest, target, engine, tokenizer, chatTemplate, sequences: checked.sequences, resident });
}

function openEngine(
  arch: string,
  options: NativeOpenOptions,
  wake: (id: number) => void,
  uploaded: (share: number) => void,
): Promise<NativeEngine> {
  if (arch === WASM) return openWasmFiles(options, wake);
  if (arch === WEBGPU) return openWebGpuFiles(options, wake, uploaded);
  return loadAddon().open(options, wake, uploaded);
}
