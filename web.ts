import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BitnetError } from './errors.ts';
import { packageRoot } from './package-root.ts';
import { type Artifact, readArtifact } from './runtime/src/artifact.ts';

/** Targets that browsers run. */
const TARGETS: readonly string[] = ['webgpu', 'wasm-simd128', 'webgl'];

/**
 * Writes a folder that any static server serves: a page that loads a model and talks, and in `model` what browsers read of the
 * model's artifacts, as one. Returns the targets that are in it.
 * @throws BitnetError where the artifacts have no target for browsers, or are of several models
 */
export async function writeWebFolder(artifacts: readonly string[], folder: string): Promise<readonly string[]> {
  const read = await Promise.all(artifacts.map((artifact) => readArtifact(artifact)));
  const [{ manifest }] = read as [Artifact, ...Artifact[]];
  if (new Set(read.map(({ manifest: { model } }) => model.sha256)).size > 1) {
    throw new BitnetError('a page is for one model, and these artifacts are of several');
  }
  const parts = read.map((artifact) => partOf(artifact));
  const targets = Object.fromEntries(parts.flatMap((part) => part.targets));
  if (parts.every((part) => part.targets.length === 0)) {
    throw new BitnetError(`${manifest.model.name} is compiled for no target that browsers run`, {
      hint: `Compile it with --target ${TARGETS.join()}.`,
    });
  }
  const page = join(packageRoot(), 'dist', 'page');
  if (!existsSync(page)) throw new BitnetError(`${page} is missing`, { hint: 'Run "npm run prepare" in the package.' });
  await mkdir(folder, { recursive: true });
  await cp(page, folder, { recursive: true });
  for (const { from, files } of parts) {
    for (const file of files) {
      const to = join(folder, 'model', file);
      await mkdir(dirname(to), { recursive: true });
      await copyFile(join(from, file), to);
    }
  }
  const own = { ...manifest, weights: Object.fromEntries(parts.flatMap(({ weights }) => weights)), targets };
  await writeFile(join(folder, 'model', 'manifest.json'), `${JSON.stringify(own, undefined, 2)}\n`);
  return Object.keys(targets);
}

/** What of an artifact browsers read. */
function partOf({ folder: from, manifest }: Artifact) {
  const targets = Object.entries(manifest.targets).filter(([id]) => TARGETS.includes(id));
  const layouts = new Set(targets.map(([, { layout }]) => layout));
  const weights = Object.entries(manifest.weights).filter(([layout]) => layouts.has(layout));
  const files = [
    manifest.tokenizer.file,
    ...weights.map(([, { file }]) => file),
    ...targets.map(([, { library }]) => library),
  ];
  return { from, targets, weights, files };
}
