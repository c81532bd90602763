/**
 * The first key that an object in this JSON text, which must be valid, holds twice. JSON.parse takes the last of them
 * in silence, other readers the first.
 */
export function duplicateKey(json: string): string | undefined {
  /** Keys of the objects around, innermost last; null for a list. */
  const open: (Set<string> | null)[] = [];
  for (let at = 0; at < json.length; at++) {
    const char = json[at];
    if (char === '{') open.push(new Set());
    else if (char === '[') open.push(null);
    else if (char === '}' || char === ']') open.pop();
    else if (char === '"') {
      const end = closingQuote(json, at);
      const keys = open.at(-1);
      if (keys && isKey(json, end)) {
        const key: string = JSON.parse(json.slice(at, end + 1));
        if (keys.has(key)) return key;
        keys.add(key);
      }
      at = end;
    }
  }
  return undefined;
}

function closingQuote(json: string, opening: number): number {
  let at = opening + 1;
  while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
  return at;
}

/** Whether a colon follows. */
function isKey(json: string, closing: number): boolean {
  let at = closing + 1;
  while (' \t\r\n'.includes(json[at]!)) at++;
  return json[at] === ':';
}
