import { BitnetError } from '../../errors.ts';

function refuse(cause: unknown): never {
  if (cause instanceof BitnetError) throw cause;
  const [message, hint] = (cause as Error).message.split('\n');
  throw new BitnetError(message!, { ...(hint ? { hint } : {}), cause });
}

/** What native work gives; what it throws as an error for people: its second line says what to do. */
export function refused<T>(work: () => T): T {
  try {
    return work();
  } catch (cause) {
    return refuse(cause);
  }
}

/** The same of a promise. */
export const refusedLater = <T>(work: Promise<T>): Promise<T> => work.catch(refuse);
