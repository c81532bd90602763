// The memory that a model in WebAssembly is laid out in, and the build that is taken of its program.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Arena, newMemory } from '../../runtime/src/wasm/library.ts';
import { enableRelaxedSimd } from '../../runtime/src/wasm/node.ts';
import { compileProgram, hasRelaxedSimd } from '../../runtime/src/wasm/program.ts';
import { refusal } from '../support/refusal.ts';

const MAGIC = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/** A module with nothing in it but a custom section. */
const section = (name: string, content: readonly number[]): Uint8Array<ArrayBuffer> => {
  const label = [...Buffer.from(name)];
  return Uint8Array.of(...MAGIC, 0, 1 + label.length + content.length, label.length, ...label, ...content);
};

test('memory is handed out on lines of their own, and grows', () => {
  const { memory } = newMemory();
  const arena = new Arena(memory, 1000);
  const first = arena.take(10, 'a test');
  const second = arena.take(3 << 20, 'a test');
  assert.equal([first, second], [1024, 1088]);
  assert.ok(memory.buffer.byteLength >= second + (3 << 20));
  assert.ok(new Uint8Array(memory.buffer, second, 3 << 20).every((byte) => byte === 0));
});

test('what 32-bit addresses do not reach is refused, with what was wanted', async () => {
  const arena = new Arena(newMemory().memory, 0);
  arena.take(3 * 2 ** 30, 'the weights');
  const { message, hint } = await refusal(() => arena.take(2 ** 30 + 1, 'a KV cache of 8 × 4096 positions'));
  assert.is(
    message,
    'there is no room for a KV cache of 8 × 4096 positions: 4097 MiB in all, and there may be 4096 MiB at most',
  );
  assert.match(hint!, /contextLength/);
});

test('where long rows of addresses are refused memory is smaller, and what was left to grow may not be there', async () => {
  const { Memory } = WebAssembly;
  WebAssembly.Memory = class extends Memory {
    constructor(descriptor: ConstructorParameters<typeof Memory>[0]) {
      if (descriptor.maximum > 1000) throw new RangeError('could not allocate memory');
      super(descriptor);
    }
  };
  try {
    const { memory, most } = newMemory();
    assert.ok(most >= 700 * 65536 && most <= 1000 * 65536);
    const arena = new Arena(memory, 0, most);
    assert.match(
      (await refusal(() => arena.take(most + 1, 'the weights'))).message,
      /, and there may be \d+ MiB at most$/,
    );
    memory.grow = () => {
      throw new RangeError('out of memory');
    };
    const { message } = await refusal(() => arena.take(most, 'the weights'));
    assert.match(message, /^there is no room for the weights: \d+ MiB in all, and that is more than there is$/);
    assert.is(newMemory(5 << 20).most, 5 << 20);
    WebAssembly.Memory = class {
      constructor() {
        throw new RangeError('could not allocate memory');
      }
    } as unknown as typeof Memory;
    assert.match((await refusal(() => newMemory())).message, /no room for the program: 2 MiB/);
  } finally {
    WebAssembly.Memory = Memory;
  }
});

test('what is no program is refused', async () => {
  const { message } = await refusal(() => compileProgram(Uint8Array.of(1, 2, 3)));
  assert.match(message, /does not take the program/);
});

test('of a program its build with relaxed SIMD is taken where there is that', async () => {
  enableRelaxedSimd();
  assert.ok(hasRelaxedSimd());
  assert.ok((await compileProgram(section('bitnet.relaxed', MAGIC))).relaxed);
  assert.not.ok((await compileProgram(section('something', MAGIC))).relaxed);
});

test.run();
