import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const bundles = new Map<string, string>();

/**
 * What a worker thread runs first, to be evaluated there: a module beside the one at `from`, named without its extension.
 * It is JavaScript in the package. In the sources it is what esbuild makes of it and all that it imports: to translate
 * modules in each thread as they are met takes longer than most threads live.
 */
export function threadEntry(from: string, name: string): string {
  if (from.endsWith('.js')) return `import(${JSON.stringify(new URL(`${name}.js`, from))})`;
  const { href } = new URL(`${name}.ts`, from);
  const bundle = bundles.get(href) ?? bundled(href);
  bundles.set(href, bundle);
  return bundle;
}

function bundled(href: string): string {
  const { buildSync } = createRequire(import.meta.url)('esbuild') as typeof import('esbuild');
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(href)],
    bundle: true,
    platform: 'node',
    format: 'cjs',
    define: { 'import.meta.url': JSON.stringify(href) },
    write: false,
  });
  return outputFiles[0]!.text;
}
