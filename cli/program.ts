import { Command, CommanderError } from 'commander';
import { COMPILER_VERSION } from '../compiler/version.ts';
import { BitnetError } from '../errors.ts';
import { benchCommand } from './commands/bench.ts';
import { compileCommand } from './commands/compile.ts';
import { convertCommand } from './commands/convert.ts';
import { doctorCommand } from './commands/doctor.ts';
import { embedCommand } from './commands/embed.ts';
import { explainCommand } from './commands/explain.ts';
import { inspectCommand } from './commands/inspect.ts';
import { logitsCommand } from './commands/logits.ts';
import { modelCommand } from './commands/model.ts';
import { perplexityCommand } from './commands/perplexity.ts';
import { repairCommand } from './commands/repair.ts';
import { runCommand } from './commands/run.ts';
import { targetsCommand } from './commands/targets.ts';
import { tuneCommand } from './commands/tune.ts';
import { verifyCommand } from './commands/verify.ts';
import { colours } from './format.ts';
import { Interrupted, type Io, say } from './io.ts';

/** What the process ends with. */
export const EXIT = { ok: 0, error: 1, usage: 2, interrupted: 130 } as const;

const COMMANDS = [
  runCommand,
  compileCommand,
  convertCommand,
  verifyCommand,
  repairCommand,
  modelCommand,
  inspectCommand,
  explainCommand,
  logitsCommand,
  embedCommand,
  perplexityCommand,
  tuneCommand,
  benchCommand,
  doctorCommand,
  targetsCommand,
];

const HELP = `
Where a command takes a model, that is an artifact folder, or a model file or the name of a downloaded model, which is
compiled on first use.
Without one, run, bench and compile take the small storyteller that comes with the package.

Exit codes: 0 done, 1 an error (bad model, bad value, nothing to run it with), 2 wrong usage, 130 interrupted.
BITNET_DEBUG=1 shows where an unexpected error came from.

Examples:
  bitnet run -p "Once upon a time"
  bitnet compile model.gguf --target all
  bitnet doctor`;

function makeProgram(io: Io): Command {
  const program = new Command('bitnet')
    .description('Compiles ternary (1.58-bit) language models into programs of their own, and runs them.')
    .version(COMPILER_VERSION)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      getOutHasColors: () => Boolean(io.stdout.isTTY),
      getErrHasColors: () => Boolean(io.stderr.isTTY),
    })
    .addHelpText('after', HELP);
  for (const add of COMMANDS) add(program, io);
  explainUsage(program, 'bitnet');
  return program;
}

/** After an error a command shows how it is used, and not the whole of its help. */
function explainUsage(command: Command, name: string): void {
  command.showHelpAfterError(`usage: ${name} ${command.usage()}\nSee ${name} --help.`);
  for (const under of command.commands) explainUsage(under, `${name} ${under.name()}`);
}

/**
 * Runs a command line.
 * @param argv what follows `bitnet`
 * @returns the exit code
 */
export async function runCli(argv: readonly string[], io: Io): Promise<number> {
  try {
    await makeProgram(io).parseAsync(argv, { from: 'user' });
    return EXIT.ok;
  } catch (error) {
    return report(error, io);
  }
}

/** Tells the user what went wrong, and returns the exit code. */
function report(error: unknown, io: Io): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  // Who read our output has seen enough.
  if (isBrokenPipe(error)) return EXIT.ok;
  if (error instanceof Interrupted || io.signal.aborted) return EXIT.interrupted;
  const red = colours(io.stderr).red;
  if (error instanceof BitnetError) {
    say(io, `${red('error:')} ${error.message}`);
    if (error.hint) say(io, `hint: ${error.hint}`);
    if (process.env.BITNET_DEBUG && error.cause) say(io, String((error.cause as Error).stack ?? error.cause));
    return EXIT.error;
  }
  say(io, `${red('error:')} ${error instanceof Error ? error.message : error}`);
  if (process.env.BITNET_DEBUG) say(io, String((error as Error).stack));
  else say(io, 'hint: nobody expected this: please report it, with what BITNET_DEBUG=1 prints');
  return EXIT.error;
}

function isBrokenPipe(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'EPIPE' || code === 'ERR_STREAM_DESTROYED';
}
