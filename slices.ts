import { setImmediate } from 'node:timers/promises';

/** Work that may pause wherever it yields. No two yields are more than about a millisecond apart. */
export type Steps<T> = Generator<void, T, void>;

/** How long one slice may hold the event loop, in milliseconds. */
const SLICE_MS = 2;

/** Does all the work at once. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Does the work in slices, letting the event loop turn between them. The first slice runs before this returns. */
export async function finishInSlices<T>(steps: Steps<T>): Promise<T> {
  let until = performance.now() + SLICE_MS;
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() >= until) {
      await setImmediate();
      until = performance.now() + SLICE_MS;
    }
  }
}
