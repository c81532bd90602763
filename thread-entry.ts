/**
 * What a worker thread runs first, to be evaluated there: a module beside the one at `from`, named without its extension.
 * It is JavaScript in the package, and in the sources what tsx makes of it, which it must be told.
 */
export function threadEntry(from: string, name: string): string {
  if (from.endsWith('.js')) return `import(${JSON.stringify(new URL(`${name}.js`, from))})`;
  const thread = JSON.stringify(new URL(`${name}.ts`, from));
  const tsx = JSON.stringify(import.meta.resolve('tsx/esm/api'));
  return `import(${tsx}).then(({ register }) => { register(); return import(${thread}); })`;
}
