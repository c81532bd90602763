import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';

const POLL_MS = 100;
/** How often an owner shows that it is alive, and after what silence it is taken for dead whatever its pid says. */
const BEAT_MS = 1000;
const SILENCE_MS = 30_000;
/** A process that has not written its name into its lock after this long was killed in between. */
const NAMELESS_MS = 2000;

/** Whether the process that wrote a lock is gone. A lock of another host is taken for alive while it is refreshed. */
async function isStale(file: string): Promise<boolean> {
  const text = await readFile(file, 'utf8');
  const silence = Date.now() - (await stat(file)).mtimeMs;
  if (silence > SILENCE_MS) return true;
  if (text === '') return silence > NAMELESS_MS;
  const [host, pid] = text.split(' ');
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

async function tryLock(file: string): Promise<boolean> {
  try {
    const handle = await open(file, 'wx');
    try {
      await handle.writeFile(`${hostname()} ${process.pid}`);
    } catch (error) {
      await rm(file, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Takes a dead owner's lock away. It is renamed first and looked at again: another waiter may have been quicker. */
async function breakStale(file: string): Promise<void> {
  const aside = `${file}.${randomUUID()}`;
  try {
    if (!(await isStale(file))) return;
    await rename(file, aside);
    if (!(await isStale(aside))) await link(aside, file);
  } catch (error) {
    // Somebody took the lock or gave it back meanwhile.
    if (!['ENOENT', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  } finally {
    await rm(aside, { force: true });
  }
}

/**
 * Runs `work` while holding a lock file, so that two compilations of one model do not do the work twice. The lock of a
 * process that was killed is taken over. Correctness does not hang on it: results are put in place by renaming.
 */
export async function withLock<T>(
  file: string,
  work: () => Promise<T>,
  { onWait, signal }: { readonly onWait?: () => void; readonly signal?: AbortSignal } = {},
): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  for (let waited = false; !(await tryLock(file)); waited = true) {
    if (!waited) onWait?.();
    await breakStale(file);
    await setTimeout(POLL_MS, undefined, { signal });
  }
  const beat = setInterval(() => utimes(file, new Date(), new Date()).catch(() => {}), BEAT_MS);
  try {
    return await work();
  } finally {
    clearInterval(beat);
    await rm(file, { force: true });
  }
}
