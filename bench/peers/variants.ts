import { Command, CommanderError } from 'commander';
import { addModelOptions, loadOptions, type ModelOptions } from '../../cli/options.ts';
import { BitnetError } from '../../errors.ts';
import type { LoadOptions } from '../../index.ts';

/** Settings of ours that are measured like an engine. */
export interface Variant {
  /** As it was asked for: `default`, or `kernel=tl2,threads=1`. */
  readonly name: string;
  readonly options: LoadOptions;
}

/**
 * Reads `default;kernel=tl2,threads=1;force`: variants with semicolons between them, each the options that every command
 * takes which runs a model, with commas between them. Throws a BitnetError for what is none.
 */
export async function readVariants(text: string): Promise<Variant[]> {
  const variants: Variant[] = [];
  for (const name of text.split(';')) {
    if (!/^[a-z]/.test(name)) throw new BitnetError(`--ours '${text}' names nothing, where it should name settings`);
    const flags = name === 'default' ? [] : name.split(',').map((option) => `--${option}`);
    const command = addModelOptions(new Command())
      .exitOverride()
      .configureOutput({ writeErr: () => {} });
    try {
      command.parse(flags, { from: 'user' });
    } catch (cause) {
      if (!(cause instanceof CommanderError)) throw cause;
      throw new BitnetError(`--ours '${name}': ${cause.message.replace(/^error: /, '')}`, { cause });
    }
    variants.push({ name, options: await loadOptions(command.opts<ModelOptions>()) });
  }
  return variants;
}
