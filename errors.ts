/**
 * An error that is the user's to read: what is wrong, where, and what to do about it.
 * The command line prints `message` and `hint` without a stack and exits with 1.
 */
export class BitnetError extends Error {
  override readonly name: string = 'BitnetError';
  /** What the reader can do about it, as a sentence. */
  readonly hint: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.hint = options.hint;
  }
}
