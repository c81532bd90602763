import type { Tuned } from '../../compiler/index.ts';
import type { ModelIR } from '../../compiler/ir/model.ts';
import { families, LAYOUTS } from '../../compiler/kernels/index.ts';
import { formatName } from '../../compiler/kernels/name.ts';
import { planModel } from '../../compiler/passes/index.ts';
import { shapesOf } from '../../compiler/tune/candidates.ts';
import { tuningMachine } from '../../compiler/tune/machine.ts';
import type { TuningRuntime, Workbench } from '../../compiler/tune/workbench.ts';
import { COMPILER_VERSION } from '../../compiler/version.ts';
import { estimate } from '../../statistics.ts';
import type { Target } from '../../targets/index.ts';

/** What a tuning of that model might have found on this machine, with a layout for each matrix in turn. */
export function madeUpTuning(ir: ModelIR, target: Target, layouts: readonly string[], compiler: string): Tuned {
  const noted = estimate([1, 2, 3, 4]);
  const shapes = shapesOf(planModel(ir)).map((shape, index): Tuned['shapes'][number] => {
    const kernel = (takes: 'one' | 'many', layout: string) => {
      const family = families.find((one) => one.takes === takes && one.layout === layout)!;
      const tiles = family.tiles(shape, target).filter((tile) => {
        try {
          family.check(shape, tile, target);
          return true;
        } catch {
          return false;
        }
      });
      return { family: family.id, tile: tiles[index % tiles.length]!, reason: 'tuned: made up' };
    };
    const all = Object.values(LAYOUTS).map(({ id }) => id);
    return {
      ...shape,
      uses: [...shape.uses],
      parts: [...shape.parts],
      layout: layouts[index % layouts.length]!,
      reason: 'tuned: made up',
      layouts: all.map((layout) => ({
        layout,
        nanoseconds: noted,
        kernels: { one: kernel('one', layout), many: kernel('many', layout) },
      })),
      candidates: all.flatMap((layout) =>
        (['one', 'many'] as const).map((takes) => {
          const { family, tile } = kernel(takes, layout);
          const { m, k } = shape;
          return {
            kernel: formatName({ family, m, k, tile, target: target.id }),
            layout,
            takes,
            tile,
            tokens: takes === 'one' ? 1 : 128,
            nanoseconds: noted,
            rounds: 4,
            bytes: 1000,
            isDefault: false,
            outcome: 'best' as const,
          };
        }),
      ),
    };
  });
  return {
    format: 1,
    date: '2026-11-22',
    model: ir.name,
    machine: { cpu: tuningMachine().cpu, caches: [...tuningMachine().caches] },
    target: target.id,
    threads: 1,
    compiler,
    version: COMPILER_VERSION,
    limits: { readGBps: 30, int8GMACps: 700 },
    shapes,
    trials: [
      { name: 'default', settings: {}, prefill: noted, perToken: noted, seconds: noted },
      { name: 'tuned', settings: {}, prefill: noted, perToken: noted, seconds: noted },
    ],
    choice: 'tuned',
    settings: {},
    complete: true,
  };
}

/** A runtime whose kernels take the time that `nanoseconds` says, and whose models do. Sums are computed in earnest. */
export function madeUpRuntime(
  bench: Workbench,
  nanoseconds: (kernel: string) => number,
  seconds: (artifact: string) => number,
): TuningRuntime & { readonly timed: string[] } {
  const timed: string[] = [];
  return {
    timed,
    workbench: async () => ({
      threads: bench.threads,
      open: (library) => bench.open(library),
      run: (...args) => bench.run(...args),
      time: async (name, _tokens, _unit, rounds) => {
        timed.push(name);
        return nanoseconds(name) * rounds;
      },
      limits: async () => ({ readBytesPerSecond: 30e9, int8MacsPerSecond: 700e9 }),
    }),
    gpuBench: async () => {
      throw new Error('no GPU was asked for');
    },
    openModel: async (artifact) => ({
      run: async () => ({ prefill: seconds(artifact), perToken: seconds(artifact) / 128 }),
      close: async () => {},
    }),
  };
}
