import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname } from 'node:path';

const POLL_MS = 100;
/** A process that has not written its name into its lock after this long was killed in between. */
const NAMELESS_MS = 2000;

/** Whether the process that wrote a lock is gone. A lock of another host is taken for alive. */
async function isStale(file: string): Promise<boolean> {
  const text = await readFile(file, 'utf8');
  if (text === '') return Date.now() - (await stat(file)).mtimeMs > NAMELESS_MS;
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
export async function withLock<T>(file: string, work: () => Promise<T>, onWait?: () => void): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  for (let waited = false; !(await tryLock(file)); waited = true) {
    if (!waited) onWait?.();
    await breakStale(file);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  try {
    return await work();
  } finally {
    await rm(file, { force: true });
  }
}
