import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import Handlebars from 'handlebars';
import { packageRoot } from '../../package-root.ts';

const SUFFIX = '.hbs';
const OPTIONS: CompileOptions = { noEscape: true, strict: true, preventIndent: false };

/** What templates are written in: folders of `templates`. */
export type Language = 'cpp' | 'cuda' | 'wgsl' | 'webgl';

/** The folder of the templates of a language. */
export const templateFolder = (language: Language = 'cpp'): string => join(packageRoot(), 'templates', language);

const environments = new Map<Language, typeof Handlebars>();

/** Handlebars with every partial of a language's folders `partials` and `steps`, under `folder/stem`. */
function load(language: Language): typeof Handlebars {
  const known = environments.get(language);
  if (known) return known;
  const environment = Handlebars.create();
  for (const folder of ['partials', 'steps']) {
    const path = join(templateFolder(language), folder);
    if (!existsSync(path)) continue;
    for (const file of readdirSync(path)) {
      const name = `${folder}/${basename(file, SUFFIX).replace(/\.(cpp|cu|wgsl)$/, '')}`;
      environment.registerPartial(name, readFileSync(join(path, file), 'utf8'));
    }
  }
  environments.set(language, environment);
  return environment;
}

const compiled = new Map<string, HandlebarsTemplateDelegate>();

/**
 * Renders one template. Strict: a name that the view lacks is an error, so a view is whole or nothing comes out.
 * @param template file of its folder without `.hbs`
 * @param language whose templates it is one of
 */
export function render(template: string, view: object, language: Language = 'cpp'): string {
  const path = join(templateFolder(language), template + SUFFIX);
  let run = compiled.get(path);
  if (!run) {
    run = load(language).compile(readFileSync(path, 'utf8'), OPTIONS);
    compiled.set(path, run);
  }
  return run(view);
}
