import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import Handlebars from 'handlebars';
import { packageRoot } from '../../package-root.ts';

const SUFFIX = '.hbs';
const OPTIONS: CompileOptions = { noEscape: true, strict: true, preventIndent: false };

/** The folder of the C++ templates. */
export const templateFolder = (): string => join(packageRoot(), 'templates', 'cpp');

let environment: typeof Handlebars | undefined;

/** Handlebars with every partial of templates/cpp/partials and templates/cpp/steps, under `folder/stem`. */
function load(): typeof Handlebars {
  if (environment) return environment;
  environment = Handlebars.create();
  for (const folder of ['partials', 'steps']) {
    for (const file of readdirSync(join(templateFolder(), folder))) {
      const name = `${folder}/${basename(file, SUFFIX).replace(/\.cpp$/, '')}`;
      environment.registerPartial(name, readFileSync(join(templateFolder(), folder, file), 'utf8'));
    }
  }
  return environment;
}

const compiled = new Map<string, HandlebarsTemplateDelegate>();

/**
 * Renders one template. Strict: a name that the view lacks is an error, so a view is whole or nothing comes out.
 * @param template file of templates/cpp without `.hbs`
 */
export function render(template: string, view: object): string {
  let run = compiled.get(template);
  if (!run) {
    run = load().compile(readFileSync(join(templateFolder(), template + SUFFIX), 'utf8'), OPTIONS);
    compiled.set(template, run);
  }
  return run(view);
}
