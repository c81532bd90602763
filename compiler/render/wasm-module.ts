import { basename } from 'node:path';
import type { Target } from '../../targets/target.ts';
import { render } from './environment.ts';

/** What programs are compiled with, beside the target's own flags: there is neither a system nor a C++ library. */
const FREESTANDING = [
  '--target=wasm32',
  '-std=c++20',
  '-O3',
  '-DNDEBUG',
  '-ffreestanding',
  '-nostdinc++',
  '-isystem include',
  '-fno-exceptions',
  '-fno-rtti',
  '-fvisibility=hidden',
  '-ffp-contract=off',
  '-Wall',
  '-Wextra',
];

/** The runtime gives a program its memory, which threads may share, and each thread its stack. */
const LINK = [
  '--target=wasm32',
  '-nostdlib',
  '-Wl,--no-entry,--import-memory,--shared-memory,--initial-memory=2097152,--max-memory=4294967296',
  '-Wl,--export=bn_model,--export=__stack_pointer,--export=__heap_base,--export-table,--strip-all',
];

/** The two builds of a program: one that every engine takes, and one with relaxed SIMD, which lies in a section of it. */
export const VARIANTS = {
  plain: { module: 'model.wasm', flags: [] },
  relaxed: { module: 'build/relaxed.wasm', flags: ['-mrelaxed-simd'] },
} as const;
export type Variant = keyof typeof VARIANTS;

/** That section. */
export const RELAXED_SECTION = 'bitnet.relaxed';

/** Arguments of clang++, run in the program's folder. */
export interface ModuleCommands {
  readonly module: string;
  /** One for each source. */
  readonly compile: readonly (readonly string[])[];
  readonly link: readonly string[];
}

/** Arguments of clang++ that make a module of one source, run in the target's folder. */
export const singleModule = (source: string, target: Target, module: string): string[] => [
  ...words([...FREESTANDING, ...target.flags]),
  source,
  ...LINK,
  '-o',
  module,
];

const words = (flags: readonly string[]): string[] => flags.flatMap((flag) => flag.split(' '));

/** What builds one variant of a program. */
export function moduleCommands(
  files: readonly string[],
  target: Target,
  key: string,
  variant: Variant,
): ModuleCommands {
  const { module, flags } = VARIANTS[variant];
  const all = words([...FREESTANDING, ...target.flags, ...flags]);
  const keyed = (source: string) => (source === 'model.cpp' ? [`-DBN_MODEL_KEY="${key}"`] : []);
  const object = (source: string) => `build/${variant}/${basename(source, '.cpp')}.o`;
  return {
    module,
    compile: files.map((source) => [...all, ...keyed(source), '-c', source, '-o', object(source)]),
    link: [...LINK, ...files.map(object), '-o', module],
  };
}

/** The same as a script. */
export const renderModuleScript = (files: readonly string[], target: Target, key: string): string =>
  render('build.sh', {
    target: target.id,
    files,
    key,
    flags: [...FREESTANDING, ...target.flags],
    link: LINK,
    relaxed: VARIANTS.relaxed.flags,
    section: RELAXED_SECTION,
  });
