import { setTimeout } from 'node:timers/promises';
import { BitnetError } from '../../errors.ts';

const MAX_DELAY_MS = 30_000;
/** A server may ask for more patience than we would have: the Hub's limits are counted over five minutes. */
const MAX_ASKED_MS = 300_000;

/** How long a bad connection is borne with. */
export interface Patience {
  /** Tries without anything gained before giving up. */
  readonly attempts: number;
  /** Wait before the second try, in milliseconds; twice as long before each one that follows. */
  readonly delayMs: number;
  /** A server that sends nothing for so long is taken for gone. */
  readonly stallMs: number;
}

export const PATIENCE: Patience = { attempts: 7, delayMs: 500, stallMs: 60_000 };

/** Something that may go better next time: a lost connection, a server that is busy. */
export class Interruption extends Error {
  /** What the server asked to wait, in milliseconds. */
  readonly askedMs: number;
  /** Enough has arrived to begin counting the tries anew. */
  readonly gained: boolean;

  constructor(message: string, { askedMs = 0, gained = false, cause = undefined as unknown } = {}) {
    super(message, { cause });
    this.askedMs = askedMs;
    this.gained = gained;
  }
}

export interface RetryOptions {
  readonly patience: Patience;
  readonly signal?: AbortSignal;
  readonly onRetry?: (message: string) => void;
}

/** Does work again after an Interruption, and waits longer each time. Ends with the reason of an abort. */
export async function withRetries<T>(
  work: () => Promise<T>,
  { patience: { attempts, delayMs }, signal, onRetry }: RetryOptions,
): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof Interruption)) throw error;
      if (error.gained) tried = 1;
      if (tried >= attempts) throw givenUp(error, attempts);
      const delay = Math.min(delayMs * 2 ** (tried - 1), MAX_DELAY_MS);
      const wait = Math.max(delay, Math.min(error.askedMs, MAX_ASKED_MS));
      onRetry?.(`${error.message}; trying again in ${Math.ceil(wait / 1000)} s`);
      await setTimeout(wait, undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  }
}

const givenUp = (cause: Interruption, attempts: number): BitnetError =>
  new BitnetError(`${cause.message}; tried ${attempts} times`, {
    hint: 'check the network and try again: what has arrived is kept. HF_ENDPOINT sets a mirror of the Hub',
    cause,
  });
