import { BitnetError } from 'bitnet-toolchain/browser';

/** An error for whoever looks at the page: what is wrong, and what to do about it. */
export const describe = (error: unknown): string =>
  error instanceof BitnetError ? [error.message, error.hint].filter(Boolean).join('. ') : String(error);
