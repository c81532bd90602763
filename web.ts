import { existsSync } from 'node:fs';
import { copyFile, cp, mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { BitnetError } from './errors.ts';
import { packageRoot } from './package-root.ts';
import { readArtifact } from './runtime/src/artifact.ts';

/** Targets that browsers run. */
const TARGETS: readonly string[] = ['wasm-simd128'];

/**
 * Writes a folder that any static server serves: a page that loads the model of an artifact and talks, and in `model` what of
 * the artifact browsers read. Returns the targets that are in it.
 * @throws BitnetError where the artifact has no target for browsers
 */
export async function writeWebFolder(artifact: string, folder: string): Promise<readonly string[]> {
  const { folder: from, manifest } = await readArtifact(artifact);
  const targets = Object.entries(manifest.targets).filter(([id]) => TARGETS.includes(id));
  if (targets.length === 0) {
    throw new BitnetError(`${manifest.model.name} is compiled for no target that browsers run`, {
      hint: `Compile it with --target ${TARGETS.join()}.`,
    });
  }
  const layouts = new Set(targets.map(([, { layout }]) => layout));
  const weights = Object.entries(manifest.weights).filter(([layout]) => layouts.has(layout));
  const files = [
    manifest.tokenizer.file,
    ...weights.map(([, { file }]) => file),
    ...targets.map(([, { library }]) => library),
  ];
  const page = join(packageRoot(), 'dist', 'page');
  if (!existsSync(page)) throw new BitnetError(`${page} is missing`, { hint: 'Run "npm run prepare" in the package.' });
  await mkdir(folder, { recursive: true });
  await cp(page, folder, { recursive: true });
  for (const file of files) {
    const to = join(folder, 'model', file);
    await mkdir(dirname(to), { recursive: true });
    await copyFile(join(from, file), to);
  }
  const own = { ...manifest, weights: Object.fromEntries(weights), targets: Object.fromEntries(targets) };
  await writeFile(join(folder, 'model', 'manifest.json'), `${JSON.stringify(own, undefined, 2)}\n`);
  return targets.map(([id]) => id);
}
