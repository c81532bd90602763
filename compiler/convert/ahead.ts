/** The same items, each begun while the one before is still in use: reading and computing go on while others write. */
export async function* ahead<T>(items: AsyncGenerator<T>): AsyncGenerator<T> {
  let next = items.next();
  try {
    for (;;) {
      const { done, value } = await next;
      if (done) return;
      next = items.next();
      // Its failure is met when it is asked for; until then it is nobody's.
      next.catch(() => {});
      yield value;
    }
  } finally {
    await items.return(undefined);
  }
}
