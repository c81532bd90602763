/**
 * Does both at once. Where one fails, the other's signal aborts and it is waited for, so that nothing still works when
 * this throws what failed first. The signals abort with the caller's, too.
 */
export async function together<A, B>(
  signal: AbortSignal | undefined,
  one: (signal: AbortSignal) => Promise<A>,
  other: (signal: AbortSignal) => Promise<B>,
): Promise<[A, B]> {
  const stop = new AbortController();
  const either = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const stopping = async <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> => {
    try {
      return await work(either);
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  };
  const [a, b] = await Promise.allSettled([stopping(one), stopping(other)]);
  if (a.status === 'rejected' || b.status === 'rejected') throw stop.signal.reason;
  return [a.value, b.value];
}
