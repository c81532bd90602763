import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { type Machine, probeMachine, runsOn, WEBGL, WEBGPU } from '../../artifact/machine.ts';
import type { Manifest, TargetEntry } from '../../artifact/manifest.ts';
import { unpackTokenizer } from '../../artifact/tokenizer/file.ts';
import type { TokenizerTables } from '../../artifact/tokenizer/tables.ts';
import { BitnetError } from '../../errors.ts';
import { finishInSlices, type Steps } from '../../slices.ts';
import { parseManifest, RECOMPILE } from './manifest.ts';

/** An artifact folder whose manifest has been read. */
export interface Artifact {
  /** Absolute path of the folder. */
  readonly folder: string;
  readonly manifest: Manifest;
}

/** What a target for GPUs has for an architecture, and what it is called where it is for one of them. */
const GPU = 'cuda';

/** Whether a target is for GPUs: NVIDIA's own way, or WebGPU. */
export const isForGpu = ({ arch }: TargetEntry): boolean => arch === GPU || arch === WEBGPU;

/** Whether GPUs that a target runs on are known by number. */
export const hasDevices = ({ arch }: TargetEntry): boolean => arch === GPU;

/** The GPUs that a target is to run on: those asked for, or the first ones. @throws BitnetError where both options ask */
export function chooseDevices(
  { gpus = 1 }: TargetEntry,
  { device, devices }: { readonly device?: number; readonly devices?: readonly number[] },
): readonly number[] {
  if (device !== undefined && devices !== undefined) {
    throw new BitnetError('options device and devices say the same', { hint: 'Leave one of them out.' });
  }
  if (device !== undefined && gpus > 1) {
    throw new BitnetError(`this program is for ${gpus} GPUs that share the model, and option device names one`, {
      hint: `Name ${gpus} of them with devices, or compile the model without gpus.`,
    });
  }
  return devices ?? Array.from({ length: gpus }, (_, i) => (device ?? 0) + i);
}

/** Reads `manifest.json` of an artifact folder. @throws BitnetError where it is missing, damaged or of another version */
export async function readArtifact(path: string): Promise<Artifact> {
  const folder = resolve(path);
  const file = join(folder, 'manifest.json');
  const bytes = await readBytes(file, 'An artifact is the folder that "bitnet compile" writes.');
  return { folder, manifest: parseManifest(bytes.toString('utf8'), file) };
}

/** Reads the artifact's tokenizer. @throws BitnetError where the file is missing, or not the one that was compiled */
export async function readTokenizer({ folder, manifest }: Artifact): Promise<TokenizerTables> {
  const { file, sha256 } = manifest.tokenizer;
  return unpackTokenizer(await readChecked(join(folder, file), sha256, 'tokenizer'));
}

/** The path of a target's library. @throws BitnetError where it is missing, or not the one that was compiled */
export async function checkLibrary({ folder }: Artifact, { library, sha256 }: TargetEntry): Promise<string> {
  const file = join(folder, library);
  await readChecked(file, sha256, 'library');
  return file;
}

/** What a target is called in an artifact, where so many GPUs are to share the model. */
export const nameForGpus = (target: string | undefined, gpus = 1): string | undefined =>
  gpus > 1 && (target === undefined || target === GPU) ? `${GPU}-x${gpus}` : target;

/**
 * Picks the target to run: the one asked for, or of those that this machine can run the one of highest rank.
 * @throws BitnetError where there is none, with what each lacks
 */
export function chooseTarget(manifest: Manifest, wanted?: string, machine: Machine = probeMachine()): string {
  const targets = Object.entries(manifest.targets);
  const names = targets.map(([name]) => name).join(', ');
  if (wanted !== undefined) {
    const target = targets.find(([name]) => name === wanted)?.[1];
    if (!target) {
      const option = wanted.startsWith(`${GPU}-x`) ? `${GPU} --gpus ${wanted.slice(GPU.length + 2)}` : wanted;
      const hint = `Compile it for that target: --target ${option}.`;
      throw new BitnetError(`the artifact of ${manifest.model.name} has no target ${wanted}, only ${names}`, { hint });
    }
    const obstacle = whyNot(target, machine);
    if (obstacle) throw new BitnetError(`target ${wanted} does not run on this machine: ${obstacle}`);
    return wanted;
  }
  const runnable = targets.filter(([, target]) => !whyNot(target, machine)).sort(([, a], [, b]) => b.rank - a.rank);
  const best = runnable[0];
  if (best) return best[0];
  const reasons = targets.map(([name, target]) => `${name} (${whyNot(target, machine)})`).join(', ');
  throw new BitnetError(
    `this machine runs none of the targets of ${manifest.model.name}: ${reasons || 'there are none'}`,
    {
      hint: 'Compile the model on this machine, or with --target all.',
    },
  );
}

/** What the machine lacks for a target, or undefined. */
function whyNot(target: TargetEntry, machine: Machine): string | undefined {
  if (isForGpu(target)) return undefined; // the engine asks the driver, and says why not
  if (target.arch === WEBGL) return 'it is for browsers';
  if (!runsOn(target.arch, machine)) return `it is for ${target.arch}, this is ${machine.arch}`;
  const missing = target.features.filter((feature) => !machine.features.has(feature));
  return missing.length > 0 ? `the CPU lacks ${missing.join(', ')}` : undefined;
}

/** Reads a file that has to be as it was compiled. */
async function readChecked(file: string, sha256: string, what: string): Promise<Buffer<ArrayBuffer>> {
  const bytes = await readBytes(file, RECOMPILE);
  if ((await finishInSlices(digestOf(bytes))) === sha256) return bytes;
  throw new BitnetError(`${file} is damaged: it is not the ${what} that was compiled`, { hint: RECOMPILE });
}

/** sha256 of some bytes, a millisecond or so at a time. */
function* digestOf(bytes: Buffer): Steps<string> {
  const SLICE = 1 << 19;
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += SLICE) {
    hash.update(bytes.subarray(at, at + SLICE));
    yield;
  }
  return hash.digest('hex');
}

async function readBytes(file: string, hint: string): Promise<Buffer<ArrayBuffer>> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new BitnetError(`${file} cannot be read: ${(cause as Error).message}`, { hint, cause });
  }
}
