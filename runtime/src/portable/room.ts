import { BitnetError } from '../../../errors.ts';

const mebibytes = (bytes: number): string => `${Math.ceil(bytes / 2 ** 20)} MiB`;

/** The error that a model takes `bytes` of memory with `what`, and may take `limit`, or finds less. */
export function noRoom(what: string, bytes: number, limit = Number.POSITIVE_INFINITY, cause?: unknown): BitnetError {
  const most = Number.isFinite(limit) ? `there may be ${mebibytes(limit)} at most` : 'that is more than there is';
  return new BitnetError(`there is no room for ${what}: ${mebibytes(bytes)} in all, and ${most}`, {
    hint: 'Ask for a shorter contextLength or for fewer sequences, allow more where there is a memoryLimit, or take another target.',
    cause,
  });
}
