import { packPiece } from '../build/pieces.ts';
import type { Workbench } from './workbench.ts';

/** What a thread can be asked to do, by name: a pure function of the model's data and a description that can be cloned. */
const TASKS = { pack: packPiece } as const;

export type TaskName = keyof typeof TASKS;
export type TaskInput<N extends TaskName> = Parameters<(typeof TASKS)[N]>[1];
export type TaskOutput<N extends TaskName> = Awaited<ReturnType<(typeof TASKS)[N]>>;

/** Does a task in this thread. */
export function runTask<N extends TaskName>(bench: Workbench, task: N, input: TaskInput<N>): Promise<TaskOutput<N>> {
  const run = TASKS[task] as (bench: Workbench, input: TaskInput<N>) => Promise<TaskOutput<N>>;
  return run(bench, input);
}
