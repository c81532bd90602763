import { BitnetError } from '../../errors.ts';
import type { TaskInput, TaskName, TaskOutput } from './tasks.ts';

/** To a thread. */
export interface Request<N extends TaskName = TaskName> {
  readonly id: number;
  readonly task: N;
  readonly input: TaskInput<N>;
}

/** From a thread. */
export type Answer = { readonly id: number } & (
  | { readonly output: TaskOutput<TaskName> }
  | { readonly failure: Failure }
);

/** An error between threads: cloning one leaves away its class and what else it says. */
interface Failure {
  readonly error: unknown;
  readonly more: { readonly hint?: string; readonly code?: string; readonly syscall?: string };
  readonly isOurs: boolean;
}

export function packError(error: unknown): Failure {
  const { hint, code, syscall } = error as Failure['more'];
  return { error, more: { hint, code, syscall }, isOurs: error instanceof BitnetError };
}

export function unpackError({ error, more, isOurs }: Failure): unknown {
  if (isOurs) return new BitnetError((error as Error).message, { hint: more.hint, cause: (error as Error).cause });
  return error instanceof Error && more.code !== undefined ? Object.assign(error, more) : error;
}
