import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import {
  type Manifest,
  manifestSchema,
  type TargetEntry,
  type TensorEntry,
  type WeightsEntry,
} from '../../artifact/manifest.ts';
import { buildTables } from '../../artifact/tokenizer/build.ts';
import { packTokenizer } from '../../artifact/tokenizer/file.ts';
import { ABI_VERSION, ARTIFACT_FORMAT } from '../../artifact/version.ts';
import { finishInSlices } from '../../slices.ts';
import type { Target } from '../../targets/target.ts';
import { renderBinding } from '../bindings/binding.ts';
import type { ModelIR } from '../ir/model.ts';
import type { PackedTensor, Plan } from '../ir/plan.ts';
import { SKIPPING } from '../kernels/index.ts';
import { blocksOf, packedBytes } from '../kernels/layout.ts';
import { type Choice, distinctKernels, kernelsOf } from '../passes/select-kernels.ts';
import { COMPILER_VERSION } from '../version.ts';
import { fileFingerprint, hashFile, sha256 } from './fingerprint.ts';
import { withLock } from './lock.ts';
import { together } from './together.ts';
import type { Compiler } from './toolchain.ts';
import { trialChecksums } from './trials.ts';
import { writeWeights } from './weights.ts';

const TOKENIZER_FILE = 'tokenizer.bin';

/** The program of a model for one target, and how it is built. */
export interface Program {
  readonly target: Pick<Target, 'id' | 'arch' | 'features' | 'rank' | 'flags'>;
  readonly choices: readonly Choice[];
  readonly compiler: Pick<Compiler, 'command' | 'version'>;
  /** Identifies its library by everything that goes into it. */
  readonly key: string;
  /** File name of the library. */
  readonly library: string;
  /** Puts sources and library into a folder that is there. */
  readonly write: (folder: string, signal?: AbortSignal) => Promise<void>;
  /** GPUs that share the model. */
  readonly gpus?: number;
}

/** What a long compilation is at. `fraction` runs from 0 to 1 where it is known. */
export interface Progress {
  readonly stage: 'read' | 'pack' | 'build' | 'wait' | 'done';
  readonly message: string;
  readonly fraction?: number;
}

export interface BuildOptions {
  /** Folder that artifacts are put in. */
  readonly out: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface BuiltArtifact {
  /** The artifact's folder, absolute. */
  readonly artifact: string;
  readonly manifest: Manifest;
  /** Nothing had to be done. */
  readonly cached: boolean;
}

const slug = (name: string): string =>
  name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 48) || 'model';

const sizeOf = (file: string): Promise<number | undefined> =>
  stat(file).then(
    ({ size }) => size,
    () => undefined,
  );

/** The manifest of an artifact whose files are all there; where they are not, it is made anew. */
async function readIntact(folder: string): Promise<Manifest | undefined> {
  const text = await readFile(join(folder, 'manifest.json'), 'utf8').catch(() => 'null');
  const parsed = manifestSchema.safeParse(parseJson(text));
  if (!parsed.success) return undefined;
  const manifest = parsed.data;
  if ((await sizeOf(join(folder, 'index.ts'))) === undefined) return undefined;
  const { file, sha256 } = manifest.tokenizer;
  if (!(await isIntact(join(folder, file), sha256))) return undefined;
  for (const { file, bytes } of Object.values(manifest.weights)) {
    if ((await sizeOf(join(folder, file))) !== bytes) return undefined;
  }
  return manifest;
}

/** Whether a file is there, as it was made. */
async function isIntact(file: string, sha256: string): Promise<boolean> {
  return (await hashFile(file).catch(() => undefined)) === sha256;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function tensorEntries(plan: Plan): Pick<WeightsEntry, 'tensors' | 'layers'> {
  const entry = (tensor: PackedTensor): TensorEntry => {
    const at = { name: tensor.name, offset: tensor.offset, bytes: tensor.bytes };
    switch (tensor.kind) {
      case 'vector':
        return { ...at, encoding: 'f32', rows: 1, cols: tensor.size };
      case 'rows':
        return { ...at, encoding: tensor.encoding, rows: tensor.rows, cols: tensor.cols };
      case 'codes':
        return { ...at, encoding: tensor.layout, rows: tensor.rows, cols: tensor.cols };
      case 'scales':
        return { ...at, encoding: 'f32', rows: 1, cols: tensor.groups };
      case 'screen':
        return { ...at, encoding: `screen${tensor.bits}`, rows: tensor.rows, cols: tensor.cols };
    }
  };
  const { shared, layer, layerBase, layerBytes } = plan.weights;
  return {
    tensors: shared.map(entry),
    layers: { offset: layerBase, bytes: layerBytes, tensors: layer.map(entry) },
  };
}

function modelEntry(ir: ModelIR, plan: Plan, modelHash: string): Manifest['model'] {
  const { rope: _rope, normEpsilon: _normEpsilon, attentionScale: _scale, window: _window, ...hyper } = plan.hyper;
  return {
    name: ir.name,
    architecture: ir.architecture,
    sha256: modelHash,
    parameters: ir.tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0),
    ...hyper,
    tiedHead: !plan.weights.shared.some(({ name }) => name === 'head'),
    ...(ir.pooling && { pooling: ir.pooling }),
  };
}

/** What a decode step reads of the weights: everything, but of a separate embedding table one row only, and no coarse copy. */
function bytesPerToken(plan: Plan): number {
  const { shared, bytes } = plan.weights;
  const separate = shared.some(({ name }) => name === 'head');
  const unread = shared.filter(({ name, kind }) => kind === 'screen' || (name === 'embedding' && separate));
  return bytes - unread.reduce((sum, tensor) => sum + tensor.bytes, 0);
}

/** Bytes that a zero spares: of a row of `up`, of a column of `down`. */
function skipsOf({ layer, hyper }: Plan): Manifest['skips'] {
  if (!layer.some((step) => step.op === 'bitlinear' && step.skips !== undefined)) return undefined;
  const { rows, columns } = SKIPPING;
  const { embedding } = hyper;
  return {
    rowBytes: blocksOf(rows, embedding) * (rows.blockBytes / 16),
    columnBytes: packedBytes(columns, embedding, columns.columns) / columns.columns,
  };
}

async function targetEntry(plan: Plan, program: Program, stage: string, weightsFile: string): Promise<TargetEntry> {
  const { target, choices, compiler, key, gpus = 1 } = program;
  const library = `${target.id}/${program.library}`;
  const checksums = await trialChecksums(plan, weightsFile, choices);
  const others: Map<string, string>[] = [];
  for (let gpu = 1; gpu < gpus; gpu++) {
    others.push(await trialChecksums(plan, weightsFile, choices, gpu));
  }
  return {
    key,
    library,
    sha256: await hashFile(join(stage, library)),
    layout: plan.weights.layout,
    arch: target.arch,
    features: [...target.features],
    rank: target.rank,
    compiler: compiler.version,
    flags: [...target.flags],
    kernels: distinctKernels(choices).map(({ name, reason }) => ({
      name,
      reason,
      uses: choices.filter((choice) => kernelsOf(choice).some((kernel) => kernel.name === name)).map(({ use }) => use),
      checksum: checksums.get(name)!,
      ...(others.length > 0 && { others: others.map((of) => of.get(name)!) }),
    })),
    ...(gpus > 1 && { gpus }),
  };
}

/** Writes JSON to a temporary file and renames it, so that a reader sees the old or the new one whole. */
async function replaceJson(file: string, value: unknown): Promise<void> {
  const temporary = `${file}.${process.pid}`;
  await writeFile(temporary, `${JSON.stringify(value, null, 2)}\n`);
  await rename(temporary, file);
}

/**
 * Makes the artifact of a model, or adds to it the programs that it lacks.
 *
 * Everything is built in a folder beside the artifact and renamed into place when it is whole: a compilation that is
 * interrupted leaves nothing that the next one trips over.
 */
export async function buildArtifact(
  ir: ModelIR,
  plan: Plan,
  programs: readonly Program[],
  { out, onProgress, signal }: BuildOptions,
): Promise<BuiltArtifact> {
  let hashed = 0;
  const total = ir.source.files.reduce((sum, { bytes }) => sum + bytes, 0);
  const message = `reading ${basename(ir.source.path)}`;
  const hashes: string[] = [];
  for (const { path } of ir.source.files) {
    hashes.push(
      await fileFingerprint(path, (bytes) => {
        hashed += bytes;
        onProgress?.({ stage: 'read', message, fraction: hashed / total });
      }),
    );
  }
  const modelHash = hashes.length === 1 ? hashes[0] : sha256(...hashes);
  // The files of weights need not be all that the model was read from.
  const rest = JSON.stringify([ir.name, ir.hyper, ir.tensors, ir.tokenizer, plan.weights]);
  const identity = sha256(modelHash, rest, String(ARTIFACT_FORMAT), COMPILER_VERSION);
  const folder = resolve(out, `${slug(ir.name)}-${identity.slice(0, 8)}`);
  const stage = `${folder}.partial`;
  const onWait = () => onProgress?.({ stage: 'wait', message: 'waiting for another compilation of this model' });

  return withLock(
    `${folder}.lock`,
    async () => {
      await rm(stage, { recursive: true, force: true });
      const old = await readIntact(folder);
      const missing: Program[] = [];
      for (const program of programs) {
        const entry = old?.targets[program.target.id];
        const current = entry?.key === program.key;
        if (!current || !(await isIntact(join(folder, entry.library), entry.sha256))) missing.push(program);
      }
      if (old && missing.length === 0) return { artifact: folder, manifest: old, cached: true };

      try {
        await mkdir(stage, { recursive: true });
        const tell = turns(old === undefined, onProgress);
        const [{ weights, tokenizer }] = await together(
          signal,
          async (either) => old ?? (await stageModel(ir, plan, stage, tell, either)),
          (either) => buildPrograms(missing, stage, tell, either),
        );
        const weightsFile = join(old ? folder : stage, weights[plan.weights.layout].file);
        const targets: Record<string, TargetEntry> = { ...old?.targets };
        for (const program of missing) {
          signal?.throwIfAborted();
          targets[program.target.id] = await targetEntry(plan, program, stage, weightsFile);
        }
        const manifest = manifestSchema.parse({
          format: ARTIFACT_FORMAT,
          abi: ABI_VERSION,
          compiler: COMPILER_VERSION,
          model: modelEntry(ir, plan, modelHash),
          tokenizer,
          bytesPerToken: bytesPerToken(plan),
          skips: skipsOf(plan),
          weights,
          targets: Object.fromEntries(Object.entries(targets).sort(([a], [b]) => a.localeCompare(b))),
        } satisfies Manifest);
        await replaceJson(join(stage, 'manifest.json'), manifest);
        await writeFile(join(stage, 'index.ts'), await renderBinding(manifest, ir));
        if (old) await merge(stage, folder, missing);
        else {
          await rm(folder, { recursive: true, force: true });
          await rename(stage, folder);
        }
        onProgress?.({ stage: 'done', message: folder, fraction: 1 });
        return { artifact: folder, manifest, cached: false };
      } finally {
        await rm(stage, { recursive: true, force: true });
      }
    },
    { onWait, signal },
  );
}

/**
 * Weights are packed while programs are built: one thing at a time is told, the packing as long as it lasts, then what is
 * being built.
 */
function turns(packing: boolean, onProgress: BuildOptions['onProgress']): (progress: Progress) => void {
  let building: Progress | undefined;
  let packed = !packing;
  return (progress) => {
    if (progress.stage === 'build') building = progress;
    if (packed !== (progress.stage === 'build')) return;
    onProgress?.(progress);
    if (progress.fraction !== 1) return;
    packed = true;
    if (building) onProgress?.(building);
  };
}

/** Writes what does not depend on a target: packed weights and tokenizer. */
async function stageModel(
  ir: ModelIR,
  plan: Plan,
  stage: string,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<Pick<Manifest, 'weights' | 'tokenizer'>> {
  const tokenizer = packTokenizer(await finishInSlices(buildTables(ir.tokenizer)));
  await writeFile(join(stage, TOKENIZER_FILE), tokenizer);
  const file = `weights/${plan.weights.layout}.bin`;
  await mkdir(join(stage, 'weights'));
  const sha256 = await writeWeights(ir, plan, join(stage, file), {
    onProgress: (fraction) => onProgress({ stage: 'pack', message: 'packing weights', fraction }),
    signal,
  });
  return {
    weights: { [plan.weights.layout]: { file, bytes: plan.weights.bytes, sha256, ...tensorEntries(plan) } },
    tokenizer: { file: TOKENIZER_FILE, sha256: createHash('sha256').update(tokenizer).digest('hex') },
  };
}

/** Builds programs, one after the other: each build takes all cores. */
async function buildPrograms(
  programs: readonly Program[],
  stage: string,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<void> {
  for (const [index, { target, compiler, write }] of programs.entries()) {
    signal.throwIfAborted();
    const message = `building ${target.id} with ${compiler.command}`;
    onProgress({ stage: 'build', message, fraction: index / programs.length });
    await mkdir(join(stage, target.id));
    await write(join(stage, target.id), signal);
  }
}

/** Moves new programs into an artifact; the manifest last, as it says which libraries to trust. */
async function merge(stage: string, folder: string, programs: readonly Program[]): Promise<void> {
  for (const { target } of programs) {
    await rm(join(folder, target.id), { recursive: true, force: true });
    await rename(join(stage, target.id), join(folder, target.id));
  }
  await rename(join(stage, 'index.ts'), join(folder, 'index.ts'));
  await rename(join(stage, 'manifest.json'), join(folder, 'manifest.json'));
}
