import type { Command } from 'commander';
import type { Manifest, TensorEntry } from '../../artifact/manifest.ts';
import type { LowerOptions } from '../../compiler/index.ts';
import { families } from '../../compiler/kernels/index.ts';
import { formatTile, parseName, type Tile } from '../../compiler/kernels/name.ts';
import { kernelsOf } from '../../compiler/passes/select-kernels.ts';
import { isArtifact, readArtifact, refuseLowering } from '../../index.ts';
import { gpuTargets, parseAnyTargets, targets } from '../../targets/index.ts';
import { printable, table } from '../format.ts';
import { type Io, write, writeJson } from '../io.ts';
import { addLowerOptions, type LowerFlags, lowerOptions } from '../options.ts';

/** A kernel of a matrix, and why it is this one. */
interface Kernel {
  readonly name: string;
  /** `one` token (a GEMV) or `many` (a GEMM). */
  readonly takes: 'one' | 'many';
  readonly tile: Tile;
  readonly reason: string;
}

interface Matrix {
  /** `qkv`, `down`, … */
  readonly use: string;
  readonly m: number;
  readonly k: number;
  readonly kernels: readonly Kernel[];
}

interface TargetExplanation {
  readonly target: string;
  readonly layout: string;
  readonly flags: readonly string[];
  /** Not decided before a program is built. */
  readonly compiler: string | null;
  readonly matrices: readonly Matrix[];
}

interface Explanation {
  readonly model: string;
  readonly architecture: string;
  /** Tables of float rows: the embedding, and the head where it is another one. */
  readonly tables: readonly {
    readonly name: string;
    readonly encoding: string;
    readonly rows: number;
    readonly cols: number;
  }[];
  readonly targets: readonly TargetExplanation[];
}

interface ExplainFlags extends LowerFlags {
  readonly target?: string;
  readonly json?: boolean;
}

const NOTES = `
A tile is rows × columns × tokens, or for table look-ups rows × columns × rows in registers × tokens: BM × BK × bm of a
kernel .ini. The columns are those summed before running sums are widened. Of a model file it shows what would be chosen.

Examples:
  bitnet explain generated/storyteller-25m-1a2b3c4d
  bitnet explain model.gguf --target all
  bitnet explain model.gguf --kernel tl2 --config kernel_config.ini
  bitnet explain model.gguf --tuned tuned.json`;

export function explainCommand(program: Command, io: Io): void {
  const command = program
    .command('explain')
    .description('say which kernel, tile and weight layout each matrix got, and why')
    .argument('<model>', 'artifact folder or model file')
    .option('--target <ids>', 'native, all, or target ids with commas (default: those of the artifact, or native)');
  addLowerOptions(command)
    .option('--json', 'print the result as JSON')
    .addHelpText('after', NOTES)
    .action(async (path: string, flags: ExplainFlags) => {
      const { target, json } = flags;
      const options = await lowerOptions(flags);
      const built = isArtifact(path);
      if (built) refuseLowering(path, options);
      const explanation = built
        ? explainArtifact((await readArtifact(path)).manifest, target)
        : await explainModel(path, target, options);
      await (json ? writeJson(io, explanation) : write(io, print(explanation)));
    });
}

function explainArtifact({ model, weights, targets: built }: Manifest, wanted: string | undefined): Explanation {
  const only = wanted === undefined ? undefined : parseAnyTargets(wanted).map(({ id }) => id);
  const entries = Object.entries(built).filter(([id]) => only === undefined || only.includes(id));
  const tensors = Object.values(weights).flatMap((entry) => entry.tensors);
  return {
    model: model.name,
    architecture: model.architecture,
    tables: tensors.filter(isTable).map(({ name, encoding, rows, cols }) => ({ name, encoding, rows, cols })),
    targets: entries.map(([target, { layout, flags, compiler, kernels }]) => {
      const uses = weights[layout].layers.tensors
        .map(({ name }) => name)
        .filter((name) => kernels.some((kernel) => kernel.uses.includes(name)));
      const matrices = uses.map((use) =>
        matrix(
          use,
          kernels.filter((kernel) => kernel.uses.includes(use)),
        ),
      );
      return { target, layout, flags, compiler, matrices };
    }),
  };
}

const isTable = ({ name }: TensorEntry): boolean => name === 'embedding' || name === 'head';

async function explainModel(path: string, wanted = 'native', options: LowerOptions = {}): Promise<Explanation> {
  const { lowerModel } = await import('../../compiler/index.ts');
  const together = parseAnyTargets(wanted);
  const lowered = await Promise.all(
    together.map(async (target) => ({ target, stages: await lowerModel(path, target, options, together) })),
  );
  const { plan } = lowered[0].stages;
  return {
    model: plan.name,
    architecture: plan.architecture,
    tables: plan.weights.shared
      .filter((tensor) => tensor.kind === 'rows')
      .map(({ name, encoding, rows, cols }) => ({ name, encoding, rows, cols })),
    targets: lowered.map(({ target, stages }) => ({
      target: target.id,
      layout: plan.weights.layout,
      flags: target.flags,
      compiler: null,
      matrices: stages.kernels.map((choice) => matrix(choice.use, kernelsOf(choice))),
    })),
  };
}

function matrix(use: string, kernels: readonly { readonly name: string; readonly reason: string }[]): Matrix {
  const parsed = kernels.map(({ name, reason }) => {
    const ids = [...targets, ...gpuTargets].map(({ id }) => id);
    const { family, m, k, tile } = parseName(name, ids);
    const takes = families.find(({ id }) => id === family)?.takes ?? (family.endsWith('_gemv') ? 'one' : 'many');
    return { m, k, kernel: { name, takes, tile, reason } };
  });
  const [{ m, k }] = parsed;
  return { use, m, k, kernels: parsed.map(({ kernel }) => kernel) };
}

function print({ model, architecture, tables, targets: explained }: Explanation): string {
  const lines = [`${printable(model)} (${architecture})`];
  for (const { name, encoding, rows, cols } of tables) lines.push(`${name}: ${rows} × ${cols}, ${encoding}`);
  if (!tables.some(({ name }) => name === 'head')) lines.push('head: the embedding');
  const sections = explained.map(({ target, layout, flags, compiler, matrices }) => {
    const rows = matrices.flatMap(({ use, m, k, kernels }) =>
      kernels.map(({ name, takes, tile, reason }) => [
        use,
        `${m} × ${k}`,
        takes === 'one' ? 'GEMV' : 'GEMM',
        formatTile(tile).replaceAll('x', ' × '),
        reason,
        name,
      ]),
    );
    const built = compiler === null ? '' : `, built by ${compiler}`;
    const heading = `${target}: weights in layout ${layout}${built}${flags.length > 0 ? `, ${flags.join(' ')}` : ''}`;
    return `${heading}\n${table(['matrix', 'm × k', 'for', 'tile', 'why', 'kernel'], rows)}`;
  });
  return `${lines.join('\n')}\n\n${sections.join('\n')}`;
}
