// What folders for bare machines have in common: programs of one file with all that they read, and Node.
import { execFileSync } from 'node:child_process';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { build } from 'esbuild';
import { BitnetError } from '../errors.ts';
import { packageRoot } from '../package-root.ts';

export interface DevicePackage {
  /** The npm script that makes it, and the folder of its main.ts under bench. */
  readonly script: string;
  readonly bench: string;
  /** What the program reads beside its own code. */
  readonly carried: readonly string[];
  /** Packages that are not bundled. */
  readonly external?: readonly string[];
  /** run.sh, which unpacks Node with `UNPACK_NODE` and starts the program with `./node`. */
  readonly run: string;
}

/** Lines of run.sh: from here on its own folder is the working directory, with `node` in it. */
export const UNPACK_NODE = `set -e
cd "$(dirname "$0")"
[ -x node ] || { xz -dk node.xz; chmod +x node; }`;

/** What modules of another kind, which some packages are, find around them. */
const AROUND = [
  "import { createRequire as requireFrom } from 'node:module';",
  'const require = requireFrom(import.meta.url);',
  'const __filename = import.meta.filename;',
  'const __dirname = import.meta.dirname;',
].join('\n');

/** A file, compressed by xz. */
export const compressed = (file: string): Buffer => execFileSync('xz', ['-c', file], { maxBuffer: 1 << 28 });

/** Makes the folder that the command line names, and returns its path. @throws BitnetError where it names none */
export async function makeDevicePackage({
  script,
  bench,
  carried,
  external = [],
  run,
}: DevicePackage): Promise<string> {
  const [folder] = process.argv.slice(2);
  if (!folder) throw new BitnetError(`say which folder to make: npm run ${script} -- FOLDER`);
  await mkdir(folder, { recursive: true });
  for (const path of carried) await cp(join(packageRoot(), path), join(folder, path), { recursive: true });
  await build({
    // Threads that pack weights find their program beside it.
    entryPoints: [`bench/${bench}/main.ts`, 'compiler/threads/thread.ts'].map((path) => join(packageRoot(), path)),
    entryNames: '[name]',
    outdir: join(folder, 'bench', bench),
    bundle: true,
    minify: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    external: [...external],
    banner: { js: AROUND },
    logLevel: 'error',
  });
  await writeFile(join(folder, 'node.xz'), compressed(process.execPath));
  await writeFile(join(folder, 'run.sh'), run, { mode: 0o755 });
  return folder;
}
