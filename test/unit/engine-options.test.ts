import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BitnetError } from '../../errors.ts';
import {
  checkBenchmarkOptions,
  checkGenerateOptions,
  checkLoadOptions,
  checkPerplexityOptions,
} from '../../runtime/src/options.ts';

/** The message with which `options` are refused. */
function refusal(check: (options: never) => unknown, options: unknown): string {
  try {
    check(options as never);
  } catch (error) {
    assert.instance(error, BitnetError);
    return (error as Error).message;
  }
  throw new Error(`${JSON.stringify(options)} should have been refused`);
}

test('bad options of a generation are refused with name, value and what is allowed', () => {
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ maxTokens: 0 }, /option maxTokens is 0, it must be a whole number from 1/],
    [{ maxTokens: 1.5 }, /maxTokens is 1\.5/],
    [{ temperature: -1 }, /option temperature is -1, it must be a number from 0 to 100/],
    [{ temperature: NaN }, /temperature is NaN/],
    [{ temperature: '1' }, /temperature is '1'/],
    [{ topK: -1 }, /option topK is -1, it must be a whole number from 0/],
    [{ topP: 1.01 }, /option topP is 1\.01, it must be a number from 0 to 1/],
    [{ minP: -0.1 }, /option minP is -0\.1/],
    [{ repetitionPenalty: 0 }, /option repetitionPenalty is 0, it must be a number from 0\.01/],
    [{ presencePenalty: Infinity }, /option presencePenalty is Infinity/],
    [{ frequencyPenalty: 101 }, /option frequencyPenalty is 101/],
    [{ penaltyLastN: -1 }, /option penaltyLastN is -1/],
    [{ seed: 2 ** 60 }, /option seed is 115292150460684/],
    [{ seed: -1 }, /option seed is -1/],
    [{ stop: 'END' }, /option stop is 'END', it must be an array/],
    [{ stop: [''] }, /option stop is \[ '' \].*none of them empty/],
    [{ logitBias: { x: 1 } }, /option logitBias is \{ x: 1 \}/],
    [{ logitBias: { 1: 101 } }, /option logitBias is \{ '1': 101 \}/],
    [{ signal: {} }, /option signal is \{\}, it must be an AbortSignal/],
    [{ ignoreEos: 1 }, /option ignoreEos is 1, it must be true or false/],
    [{ temprature: 1 }, /there is no option temprature/],
  ];
  for (const [options, message] of cases) assert.match(refusal(checkGenerateOptions, options), message);
  assert.match(refusal(checkGenerateOptions, null), /the options are null/);
});

test('bad options of loading, perplexity and benchmarks are refused', () => {
  assert.match(
    refusal(checkLoadOptions, { threads: 0 }),
    /option threads is 0, it must be a whole number from 1 to 256/,
  );
  assert.match(refusal(checkLoadOptions, { kv: 'q8' }), /option kv is 'q8', it must be 'f16' or 'f32'/);
  assert.match(refusal(checkLoadOptions, { sequences: 65 }), /option sequences is 65/);
  assert.match(refusal(checkLoadOptions, { onProgress: 1 }), /option onProgress is 1, it must be a function/);
  assert.match(refusal(checkPerplexityOptions, { window: 1 }), /option window is 1, it must be a whole number from 2/);
  assert.match(refusal(checkBenchmarkOptions, { repetitions: 0 }), /option repetitions is 0/);
});

test('undefined takes the default, the ends of a range are allowed', () => {
  const defaults = checkGenerateOptions({});
  assert.equal(checkGenerateOptions({ temperature: undefined, topK: undefined }), defaults);
  const { signal } = new AbortController();
  const options = { temperature: 0, topP: 0, minP: 1, topK: 0, seed: 0, logitBias: { 5: -Infinity }, signal };
  const checked = checkGenerateOptions(options);
  assert.equal(checked.logitBias, { 5: -Infinity });
  assert.is(checked.signal, signal);
  const onProgress = () => {};
  assert.is(checkLoadOptions({ onProgress }).onProgress, onProgress);
});

test.run();
