import { BitnetError } from '../errors.ts';

const WRITABLE = 'choose a folder you may write to: with --out for artifacts, with BITNET_CACHE for the cache';

const HINTS: Record<string, string> = {
  ENOSPC: 'make room on the disk, or choose another folder; nothing half-written was left behind',
  EACCES: WRITABLE,
  EPERM: WRITABLE,
  EROFS: WRITABLE,
  EEXIST: WRITABLE,
  ENOTDIR: WRITABLE,
  EDQUOT: 'the disk quota is used up: make room, or choose another folder with --out',
};

/** Runs `work`, turning what the operating system refuses into errors for people, with a hint for each code. */
export async function systemErrors<T>(
  work: () => Promise<T>,
  hints: Readonly<Record<string, string>> = HINTS,
): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const code = cause instanceof Error && 'syscall' in cause ? (cause as NodeJS.ErrnoException).code : undefined;
    if (code === undefined) throw cause;
    throw new BitnetError((cause as Error).message, { hint: hints[code], cause });
  }
}
