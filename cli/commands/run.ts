import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { BitnetError } from '../../errors.ts';
import type { ChatMessage, GenerateOptions, Generation, GenerationResult, Model } from '../../index.ts';
import { bytes, colours, number } from '../format.ts';
import { Interrupted, type Io, readStdin, say, write, writeJson } from '../io.ts';
import { addModelOptions, type ModelOptions, openModel, parseCount, parseInteger, parseNumber } from '../options.ts';

interface RunFlags extends ModelOptions {
  readonly prompt?: string;
  readonly maxTokens?: number;
  readonly chat?: boolean;
  readonly system?: string;
  readonly stats?: boolean;
  readonly temp?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly minP?: number;
  readonly repeatPenalty?: number;
  readonly presencePenalty?: number;
  readonly frequencyPenalty?: number;
  readonly seed?: number;
  readonly stop?: readonly string[];
}

const NOTES = `
Without -p the prompt is read from standard input. With --chat every line of it is a turn of the conversation, and on
a terminal you are asked for them; with -p as well, that one turn is answered.

Examples:
  bitnet run -p "Once upon a time" -n 160 --stats
  bitnet run model.gguf -p "The capital of France is" --temp 0
  bitnet run model.gguf --chat --system "Answer in one sentence."
  echo "Once upon a time" | bitnet run --json`;

export function runCommand(program: Command, io: Io): void {
  const command = program
    .command('run')
    .description('stream text from a model')
    .argument('[model]', 'artifact folder or model file (default: the embedded storyteller)')
    .option('-p, --prompt <text>', 'text to continue')
    .option('-n, --max-tokens <count>', 'new tokens at most (default: until the context is full)', parseCount)
    .option('--chat', "a conversation, in the words of the model's chat template")
    .option('--system <text>', 'what the model is told before a conversation')
    .option('--temp <value>', '0 takes the most probable token, 1 samples as trained (default: 0.8)', parseNumber)
    .option('--top-k <count>', 'sample from the k most probable; 0: all (default: 40)', parseInteger)
    .option('--top-p <share>', 'sample from the fewest tokens of this total probability (default: 0.95)', parseNumber)
    .option(
      '--min-p <share>',
      'leave out what is less probable than this share of the best (default: 0.05)',
      parseNumber,
    )
    .option('--repeat-penalty <value>', 'divides the logits of recent tokens (default: 1)', parseNumber)
    .option('--presence-penalty <value>', 'taken from the logits of recent tokens (default: 0)', parseNumber)
    .option('--frequency-penalty <value>', 'and that for each time one occurs (default: 0)', parseNumber)
    .option('--seed <number>', 'the same seed gives the same text (default: another each time)', parseInteger)
    .option('--stop <text>', 'stop before this text; may be given more than once', (text, all: string[] = []) => [
      ...all,
      text,
    ])
    .option('--ctx <tokens>', "room for prompt and text (default: the model's, up to 4096)", parseCount)
    .option('--no-screen', 'read the whole head for every token, the same text more slowly')
    .option('--stats', 'print speed and memory to standard error')
    .option('--json', 'print text, tokens and statistics at the end, each answer as one line of JSON');
  addModelOptions(command).addHelpText('after', NOTES);
  command.action(async (path: string | undefined, flags: RunFlags) => {
    if (flags.system !== undefined && !flags.chat) command.error("error: option '--system' needs '--chat'");
    const asked = flags.prompt === undefined && Boolean(io.stdin.isTTY);
    if (asked && !flags.chat) command.error('error: no prompt: give one with -p, or pipe one in, or start a --chat');
    const prompt = flags.chat ? flags.prompt : (flags.prompt ?? withoutNewline(await readStdin(io)));
    const model = await openModel(io, path, flags);
    try {
      if (!flags.chat) await complete(io, model, prompt!, flags);
      else if (prompt !== undefined) await new Conversation(io, model, flags).answer(prompt, io.signal);
      else if (asked) await converse(io, new Conversation(io, model, flags));
      else await answerLines(io, new Conversation(io, model, flags));
    } finally {
      await model.dispose();
    }
  });
}

/** What an editor or `echo` puts at the end. */
const withoutNewline = (text: string): string => text.replace(/\r?\n$/, '');

/** The options under the library's names; what was not given is left to its defaults. */
const generateOptions = (flags: RunFlags, signal: AbortSignal): GenerateOptions => ({
  maxTokens: flags.maxTokens,
  temperature: flags.temp,
  topK: flags.topK,
  topP: flags.topP,
  minP: flags.minP,
  repetitionPenalty: flags.repeatPenalty,
  presencePenalty: flags.presencePenalty,
  frequencyPenalty: flags.frequencyPenalty,
  seed: flags.seed,
  stop: flags.stop,
  screen: flags.screen !== false,
  signal,
});

async function complete(io: Io, model: Model, prompt: string, flags: RunFlags): Promise<void> {
  const generation = model.generate(prompt, generateOptions(flags, io.signal));
  if (io.stdout.isTTY && !flags.json) await write(io, colours(io.stdout).dim(prompt));
  await show(io, model, generation, flags);
}

/** Streams a generation, or prints it as JSON once it is whole. An interruption ends the line, too. */
async function show(io: Io, model: Model, generation: Generation, flags: RunFlags): Promise<GenerationResult> {
  if (!flags.json) {
    try {
      for await (const piece of generation) await write(io, piece);
    } finally {
      if (io.stdout.writable) io.stdout.write('\n');
    }
  }
  const result = await generation.result;
  if (flags.json) await writeJson(io, { ...result, ...engineFacts(model) }, 'compact');
  if (flags.stats) for (const line of describe(model, result)) say(io, line);
  return result;
}

const engineFacts = (model: Model) => ({
  model: model.info.name,
  target: model.target,
  device: model.device,
  threads: model.threads,
  memory: model.memory(),
});

function describe(model: Model, { stats, finishReason, seed }: GenerationResult): string[] {
  const { weights, kv, workspace, resident } = model.memory();
  const cached = stats.cachedTokens > 0 ? ` (${stats.cachedTokens} of them still cached)` : '';
  return [
    `prefill  ${stats.promptTokens} tokens${cached}, ${number(stats.prefillTokensPerSecond)} tokens/s`,
    `first    token after ${number(stats.timeToFirstTokenMs)} ms`,
    `decode   ${stats.decodeTokens} tokens, ${number(stats.decodeTokensPerSecond)} tokens/s, ended by ${finishReason}`,
    `reading  ${bytes(stats.bytesPerToken)} of weights a token, ${number(100 * stats.zeros)}% of the gated values zero`,
    ...(stats.screenedTokens > 0
      ? [
          `head     screened for ${stats.screenedTokens} tokens, ${number(stats.rowsPerScreenedToken)} rows read in full`,
        ]
      : []),
    `memory   weights ${bytes(weights)}, KV cache ${bytes(kv)}, workspace ${bytes(workspace)}, process ${bytes(resident)}`,
    `engine   ${model.target}${model.device ? ` on ${model.device}` : ''}, ${model.threads} threads, seed ${seed}`,
  ];
}

/** Turns that have been, for the next one to build on. */
class Conversation {
  readonly #io: Io;
  readonly #model: Model;
  readonly #flags: RunFlags;
  readonly #messages: ChatMessage[];

  constructor(io: Io, model: Model, flags: RunFlags) {
    this.#io = io;
    this.#model = model;
    this.#flags = flags;
    this.#messages = flags.system === undefined ? [] : [{ role: 'system', content: flags.system }];
    if (!model.chatTemplate) {
      throw new BitnetError(`${model.info.name} has no chat template`, {
        hint: 'it was not trained for conversations: give it a text to continue with -p, without --chat',
      });
    }
  }

  /** Prints the answer to a turn. */
  async answer(content: string, signal: AbortSignal): Promise<void> {
    const messages = [...this.#messages, { role: 'user', content }];
    const generation = this.#model.chat(messages, generateOptions(this.#flags, signal));
    const { text } = await show(this.#io, this.#model, generation, this.#flags);
    this.#messages.push(...messages.slice(this.#messages.length), { role: 'assistant', content: text });
  }
}

/** A turn for each line that is piped in. */
async function answerLines(io: Io, conversation: Conversation): Promise<void> {
  for await (const line of createInterface({ input: io.stdin, signal: io.signal })) {
    if (line.trim() !== '') await conversation.answer(line, io.signal);
  }
  io.signal.throwIfAborted();
}

/** Asks for turns on a terminal. Ctrl-C ends the answer that is being given, or else the conversation; Ctrl-D ends it too. */
async function converse(io: Io, conversation: Conversation): Promise<void> {
  const terminal = createInterface({ input: io.stdin, output: io.stdout, terminal: true });
  let turn = new AbortController();
  let closed = false;
  terminal.on('SIGINT', () => turn.abort(new Interrupted('interrupted')));
  terminal.on('close', () => {
    closed = true;
    turn.abort();
  });
  const step = async <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> => {
    turn = new AbortController();
    try {
      return await work(turn.signal);
    } catch (error) {
      if (turn.signal.aborted) return undefined;
      throw error;
    }
  };
  try {
    while (!closed) {
      const line = await step((signal) => terminal.question('> ', { signal }));
      if (line === undefined) {
        if (closed) break;
        throw new Interrupted('interrupted');
      }
      if (line.trim() !== '') await step((signal) => conversation.answer(line, signal));
    }
    await write(io, '\n');
  } finally {
    terminal.close();
  }
}
