/**
 * What `begin` gives for each item, in the order of the items, with at most `depth` of them begun and not yet taken.
 * Throws what the first of them throws.
 */
export async function* inOrder<T, R>(
  items: Iterable<T>,
  depth: number,
  begin: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const begun: Promise<R>[] = [];
  for (const item of items) {
    const result = begin(item);
    // A failure is met when its turn comes; until then it is nobody's.
    result.catch(() => {});
    begun.push(result);
    if (begun.length === depth) yield await begun.shift()!;
  }
  while (begun.length > 0) yield await begun.shift()!;
}
