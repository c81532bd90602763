import { systemErrors } from '../system-errors.ts';

const ROOM = 'make room and try again: what has arrived is kept. BITNET_MODELS sets another folder for models';
const WRITABLE = 'BITNET_MODELS sets another folder for models: choose one that you may write to';

const HINTS: Record<string, string> = {
  ENOSPC: ROOM,
  EDQUOT: ROOM,
  EACCES: WRITABLE,
  EPERM: WRITABLE,
  EROFS: WRITABLE,
  EEXIST: WRITABLE,
  ENOTDIR: WRITABLE,
};

/** Runs work on the cache, turning what the operating system refuses into errors for people. */
export const hubErrors = <T>(work: () => Promise<T>): Promise<T> => systemErrors(work, HINTS);
