import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Gguf, readGguf } from '../../compiler/import/gguf/reader.ts';
import { importModel } from '../../compiler/import/index.ts';
import { repair, verifyFile } from '../../compiler/index.ts';
import { fixture } from '../cli/invoke.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const repairing = suite('repair');
const folder = temporaryFolder('repair');
const LLAMA = fixture('llama-tq2.gguf');
const whole = readFileSync(LLAMA);
const original = await readGguf(LLAMA);
let made = 0;

interface Damage {
  /** What offsets and the end of the header are multiples of. */
  readonly alignment?: number;
  /** `general.alignment`, as uint32; false leaves it out. */
  readonly declared?: number | false;
  /** Keys that are left out. */
  readonly without?: readonly string[];
  /** Bytes that the end of the file lacks. */
  readonly cut?: number;
}

const u32 = (value: number) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value: number) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

/** The bytes of each key and its value, cut out of the fixture: keys stand one after the other. */
function keysOf({ metadata }: Gguf): Map<string, Buffer> {
  const names = [...metadata.keys()];
  const starts = names.map((name) => whole.indexOf(text(name)));
  const end = whole.indexOf(text(original.tensors[0].name));
  return new Map(names.map((name, i) => [name, whole.subarray(starts[i], starts[i + 1] ?? end)]));
}

/** The fixture written anew, with that damage. */
function damaged({ alignment = 32, declared = 32, without = [], cut = 0 }: Damage): string {
  const keys = keysOf(original);
  keys.delete('general.alignment');
  if (declared !== false)
    keys.set('general.alignment', Buffer.concat([text('general.alignment'), u32(4), u32(declared)]));
  for (const key of without) assert.ok(keys.delete(key), key);
  const pad = (length: number) => Buffer.alloc((alignment - (length % alignment)) % alignment);
  const infos: Buffer[] = [];
  const data: Buffer[] = [];
  let at = 0;
  for (const { name, shape, type, offset, bytes } of original.tensors) {
    infos.push(text(name), u32(shape.length), ...shape.toReversed().map(u64), u32(type), u64(at));
    data.push(whole.subarray(offset, offset + bytes!), pad(bytes!));
    at += bytes! + pad(bytes!).length;
  }
  const counts = [Buffer.from('GGUF'), u32(3), u64(original.tensors.length), u64(keys.size)];
  const header = Buffer.concat([...counts, ...keys.values(), ...infos]);
  const file = Buffer.concat([header, pad(header.length), ...data]);
  const path = join(folder, `damaged-${made++}.gguf`);
  writeFileSync(path, file.subarray(0, file.length - cut));
  return path;
}

/** Repairs, and requires that the result is sound and every tensor's bytes are those of the fixture. */
async function mended(path: string): Promise<readonly string[]> {
  const out = `${path}.mended`;
  const { output, repairs } = await repair(path, out);
  assert.is(output, out);
  assert.equal((await verifyFile(out)).findings, []);
  const file = readFileSync(out);
  for (const { name, offset, bytes } of (await readGguf(out)).tensors) {
    const before = original.tensors.find((tensor) => tensor.name === name)!;
    const same = file.subarray(offset, offset + bytes!).equals(whole.subarray(before.offset, before.offset + bytes!));
    assert.ok(same, name);
  }
  assert.equal((await importModel(out)).hyper, (await importModel(LLAMA)).hyper);
  return repairs;
}

async function refused(path: string) {
  const out = `${path}.mended`;
  const error = await refusal(() => repair(path, out));
  assert.not(existsSync(out));
  assert.not(readdirSync(folder).some((name) => name.endsWith('.partial')));
  return error;
}

repairing('writes nothing where there is nothing to repair', async () => {
  const path = damaged({});
  // The fixture has all keys but those of widths that follow from others.
  const { output, repairs } = await repair(path, `${path}.mended`);
  assert.equal([output, repairs], [undefined, []]);
  assert.not(existsSync(`${path}.mended`));
});

repairing('mends an alignment that is no power of two', async () => {
  for (const declared of [33, 0]) {
    const path = damaged({ declared });
    assert.match((await refusal(() => importModel(path))).message, /not a power of two/);
    const repairs = await mended(path);
    assert.is(repairs.length, 1);
    assert.match(repairs[0], `general.alignment is ${declared}, which is not a power of two: it is 32 now`);
  }
});

repairing('aligns data that were written without', async () => {
  const path = damaged({ alignment: 1, declared: false });
  // A header that happens to end on a multiple of 32 would need no repair of its start.
  assert.not.equal((await readGguf(path, [])).headerBytes % 32, 0);
  const repairs = await mended(path);
  assert.match(repairs.join('\n'), /data were found at byte \d+, not at \d+/);
});

repairing('finds data that are aligned to less than the file says', async () => {
  const repairs = await mended(damaged({ alignment: 8, declared: 64 }));
  assert.match(repairs.join('\n'), /data were found at byte \d+, not at \d+/);
});

const KEYS = ['block_count', 'embedding_length', 'feed_forward_length', 'attention.head_count_kv', 'vocab_size'];
for (const key of KEYS) {
  repairing(`adds ${key}, which follows from the shapes`, async () => {
    const [repaired, ...others] = await mended(damaged({ without: [`llama.${key}`] }));
    assert.equal(others, []);
    assert.match(repaired, `llama.${key} was missing: it is ${original.metadata.get(`llama.${key}`)!.value}, `);
  });
}

repairing('mends several things at once, and says each', async () => {
  const without = ['llama.block_count', 'llama.embedding_length'];
  assert.is((await mended(damaged({ declared: 48, without }))).length, 3);
});

for (const key of ['attention.head_count', 'context_length', 'attention.layer_norm_rms_epsilon']) {
  repairing(`does not guess ${key}`, async () => {
    assert.match((await refused(damaged({ without: [`llama.${key}`] }))).message, `llama.${key} is missing`);
  });
}

repairing('does not guess the architecture', async () => {
  assert.match(
    (await refused(damaged({ without: ['general.architecture'] }))).message,
    /general\.architecture is missing/,
  );
});

repairing('refuses a file that is cut off', async () => {
  assert.match((await refused(damaged({ cut: 1000 }))).message, /do not end where the file does/);
});

repairing('refuses damage in the data, which it cannot mend', async () => {
  const path = damaged({ declared: 33 });
  const file = readFileSync(path);
  const { tensors } = await readGguf(path, []);
  file.writeUInt16LE(0x7c00, tensors.find(({ name }) => name === 'token_embd.weight')!.offset);
  writeFileSync(path, file);
  const { message } = await refused(path);
  assert.match(message, /cannot be repaired: tensor token_embd\.weight: value 0 is Infinity/);
});

repairing('refuses what is no GGUF file', async () => {
  assert.match((await refused(fixture('llama-tq2.json'))).message, /is not a GGUF file/);
});

repairing.run();
