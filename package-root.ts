import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

let found: string | undefined;

/** The folder of this package, whether its code runs from the sources or from `dist/`. */
export function packageRoot(): string {
  if (found === undefined) {
    found = dirname(fileURLToPath(import.meta.url));
    while (!existsSync(join(found, 'package.json'))) found = dirname(found);
  }
  return found;
}
