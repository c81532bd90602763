import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BYTE_CHARS } from '../../artifact/tokenizer/byte-alphabet.ts';
import { BitnetError } from '../../errors.ts';
import { type ChatMessage, renderChat } from '../../runtime/src/chat.ts';
import { createTokenizer } from '../support/tokenizer.ts';
import { byteLevel } from './tokenizer-samples.ts';

const LLAMA3 =
  "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}";
const TOKENS = { bosToken: '<|begin_of_text|>', eosToken: '<|eot_id|>' };
const CONVERSATION: readonly ChatMessage[] = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: ' Hello ' },
];

function fails(template: string | null): BitnetError {
  try {
    renderChat(template, CONVERSATION, TOKENS);
  } catch (error) {
    assert.instance(error, BitnetError);
    return error as BitnetError;
  }
  return assert.unreachable() as never;
}

test('renders a conversation as the template says', () => {
  const turns =
    '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>' +
    '<|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>';
  const opening = '<|start_header_id|>assistant<|end_header_id|>\n\n';
  assert.is(renderChat(LLAMA3, CONVERSATION, TOKENS), turns + opening);
  assert.is(renderChat(LLAMA3, CONVERSATION, { ...TOKENS, addGenerationPrompt: false }), turns);
});

test('a template block takes its line with it, as in Hugging Face', () => {
  const template =
    '{% for m in messages %}\n  {% if m.role == "user" %}\n{{ m.content }}\n  {% endif %}\n{% endfor %}\n';
  assert.is(renderChat(template, CONVERSATION, TOKENS), ' Hello \n');
});

test('templates see tools, extra fields, dates and ranges', () => {
  const now = new Date(2025, 2, 7, 15, 4, 5);
  const render = (template: string) =>
    renderChat(template, [{ role: 'user', content: '', name: 'Ann' }], { ...TOKENS, tools: [{ name: 'add' }], now });
  assert.is(render('{{ tools[0].name }} {{ tools | tojson }}'), 'add [{"name": "add"}]');
  assert.is(render('{{ messages[0].name }}'), 'Ann');
  assert.is(
    render('{{ strftime_now("%d %b %Y, %A %B %-d %H:%M:%S %I%p %y%%") }}'),
    '07 Mar 2025, Friday March %-d 15:04:05 03PM 25%',
  );
  assert.is(
    render('{% for i in range(1, 6, 2) %}{{ i }}{% endfor %}{% for i in range(2) %}{{ i }}{% endfor %}'),
    '13501',
  );
  assert.is(renderChat('{{ "no tools" if tools is none and documents is none }}', CONVERSATION, TOKENS), 'no tools');
});

test('a model without a template says so', () => {
  for (const template of [null, '']) {
    const error = fails(template);
    assert.match(error.message, 'no chat template');
    assert.ok(error.hint);
  }
});

test('what the template refuses, and what is wrong with it, is told', () => {
  assert.match(
    fails('{{ raise_exception("Roles must alternate") }}').message,
    /refuses these messages: Roles must alternate/,
  );
  assert.match(fails('{% for %}').message, 'template fails');
  assert.match(fails('{{ messages.nothing() }}').message, 'template fails');
  assert.match(fails(`{{ ${'('.repeat(100_000)} }}`).message, 'template fails');
});

test('a hostile template neither hangs nor fills the memory', () => {
  assert.match(fails('{{ range(1000000000) }}').message, 'too long');
  assert.match(
    fails('{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}').message,
    'timed out',
  );
});

test('the rendered BOS is read as the one BOS', async () => {
  const base = byteLevel('llama-bpe', [...BYTE_CHARS], ['Ā ā']);
  const names = ['<|begin_of_text|>', '<|start_header_id|>', '<|end_header_id|>', '<|eot_id|>'];
  const tokenizer = await createTokenizer({
    ...base,
    tokens: [...base.tokens, ...names],
    types: [...base.types, 3, 3, 3, 3],
    bos: 256,
    eos: 259,
    addBos: true,
  });
  const ids = tokenizer.encode(renderChat(LLAMA3, CONVERSATION, TOKENS), { special: true });
  assert.equal(ids.slice(0, 2), [256, 257]);
  assert.is(ids.filter((id) => id === 256).length, 1);
  const bare = tokenizer.encode(renderChat('{{ messages[1].content }}', CONVERSATION, TOKENS), { special: true });
  assert.is(bare[0], 256, 'a template without BOS gets it from the tokenizer');
});

test.run();
