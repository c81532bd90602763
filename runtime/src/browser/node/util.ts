/** What error messages show a value as, where Node's own is not there. */
export function inspect(value: unknown): string {
  if (typeof value === 'string') return `'${value.length > 60 ? `${value.slice(0, 60)}…` : value}'`;
  if (typeof value === 'function') return 'a function';
  if (typeof value !== 'object' || value === null) return String(value);
  return Array.isArray(value) ? `[${value.slice(0, 10).map(inspect).join(', ')}]` : 'an object';
}
