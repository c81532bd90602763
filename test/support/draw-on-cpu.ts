import { copyFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { packageRoot } from '../../package-root.ts';

/** Files of a program for GPUs that draw tokens, and what stands for a block of threads on a CPU. */
const SOURCES = [
  ...['abi.h', 'cuda.h', 'sampling.h'].map((file) => join('artifact', file)),
  ...['candidate.cuh', 'draw.cuh', 'text.cuh'].map((file) => join('templates', 'cuda', file)),
  join('test', 'conformance', 'block.cuh'),
];

/** Puts into a folder what a C++ program includes, as draw.cuh, to draw tokens as a GPU does. */
export function copyDrawing(folder: string): void {
  for (const file of SOURCES) copyFileSync(join(packageRoot(), file), join(folder, basename(file)));
}
