import { runInNewContext } from 'node:vm';
import { Environment, Interpreter, parse, tokenize } from '@huggingface/jinja';
import { BitnetError } from '../../errors.ts';

/** A turn of a conversation, with whatever else the model's template reads of it, as `name` or `tool_calls`. */
export interface ChatMessage {
  /** `system`, `user`, `assistant`, `tool`, as the template knows them. */
  readonly role: string;
  readonly content: string;
  readonly [field: string]: unknown;
}

export interface ChatOptions {
  /** Text of the BOS token, '' if the model has none. */
  readonly bosToken: string;
  /** Text of the EOS token, '' if the model has none. */
  readonly eosToken: string;
  /** Close with the words that open the assistant's turn. Default true. */
  readonly addGenerationPrompt?: boolean;
  /** JSON descriptions of the functions that the model may call. */
  readonly tools?: readonly object[];
  /** What templates that print a date print. Default: now. */
  readonly now?: Date;
}

const CONSTANTS = { true: true, True: true, false: false, False: false, none: null, None: null };

/** A template comes with a model file, from anybody: no more than this of time, and of numbers in a range. */
const TIMEOUT_MS = 1000;
const LONGEST_RANGE = 100_000;

/**
 * Writes a conversation as the model's own Jinja template does, with the variables and functions that Hugging Face
 * gives to templates. Most templates put the BOS token in themselves: encode the result with `special: true`, which
 * reads it as one token, and never puts a second one before it.
 * @throws BitnetError if the model has no template, or the template refuses the messages or is wrong or takes too long
 */
export function renderChat(template: string | null, messages: readonly ChatMessage[], options: ChatOptions): string {
  if (template === null || template === '') {
    throw new BitnetError('this model has no chat template', {
      hint: 'It was not trained for conversations: give it plain text to continue.',
    });
  }
  const { bosToken, eosToken, addGenerationPrompt = true, tools = null, now = new Date() } = options;
  const variables = {
    ...CONSTANTS,
    messages,
    tools,
    documents: null,
    add_generation_prompt: addGenerationPrompt,
    bos_token: bosToken,
    eos_token: eosToken,
    raise_exception: (reason: string) => {
      throw new TemplateRefusal(reason);
    },
    strftime_now: (format: string) => strftime(now, format),
    range,
  };
  try {
    return runInNewContext('render()', { render: () => renderJinja(template, variables) }, { timeout: TIMEOUT_MS });
  } catch (cause) {
    if (cause instanceof TemplateRefusal) {
      throw new BitnetError(`the model's chat template refuses these messages: ${cause.message}`, { cause });
    }
    // An error of the other context, as of a timeout, is no instance of this one's Error.
    throw new BitnetError(`the model's chat template fails: ${(cause as Error).message}`, {
      hint: 'The template in the model file is damaged, or uses what our Jinja lacks.',
      cause,
    });
  }
}

/** The library's own `Template` takes no functions in place of its `raise_exception`, `range` and `strftime_now`. */
function renderJinja(template: string, variables: Record<string, unknown>): string {
  const program = parse(tokenize(template, { lstrip_blocks: true, trim_blocks: true }));
  const environment = new Environment();
  for (const [name, value] of Object.entries(variables)) environment.set(name, value);
  return String(new Interpreter(environment).run(program).value);
}

class TemplateRefusal extends Error {}

/** Python's range, bounded. */
function range(...bounds: number[]): number[] {
  const [start, stop, step = 1] = bounds.length === 1 ? [0, bounds[0]!] : (bounds as [number, number, number?]);
  const length = Math.max(0, Math.ceil((stop - start) / step));
  if (!(length <= LONGEST_RANGE)) throw new Error(`range(${bounds.join(', ')}) is too long`);
  return Array.from({ length }, (_, n) => start + n * step);
}

const MONTHS = 'January February March April May June July August September October November December'.split(' ');
const DAYS = 'Sunday Monday Tuesday Wednesday Thursday Friday Saturday'.split(' ');

/** Python's strftime in the C locale and local time; a directive that we lack stays as it is. */
function strftime(date: Date, format: string): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const hour12 = date.getHours() % 12 || 12;
  const values: Record<string, string> = {
    Y: String(date.getFullYear()),
    y: two(date.getFullYear() % 100),
    m: two(date.getMonth() + 1),
    B: MONTHS[date.getMonth()]!,
    b: MONTHS[date.getMonth()]!.slice(0, 3),
    d: two(date.getDate()),
    A: DAYS[date.getDay()]!,
    a: DAYS[date.getDay()]!.slice(0, 3),
    H: two(date.getHours()),
    I: two(hour12),
    p: date.getHours() < 12 ? 'AM' : 'PM',
    M: two(date.getMinutes()),
    S: two(date.getSeconds()),
    '%': '%',
  };
  return format.replace(/%(.)/g, (directive, letter: string) => values[letter] ?? directive);
}
