/** A GGUF writer for tests, sharing nothing with the compiler: it writes what it is told, right or wrong. */
export class GgufBytes {
  readonly #little: boolean;
  readonly #version: number;
  readonly #keys: Buffer[] = [];
  readonly #infos: Buffer[] = [];
  readonly #data: Buffer[] = [];
  #dataBytes = 0;
  tensorCount = 0;
  keyCount = 0;

  constructor({ version = 3, byteOrder = 'little' }: { version?: number; byteOrder?: 'little' | 'big' } = {}) {
    this.#version = version;
    this.#little = byteOrder === 'little';
  }

  /** `size` bytes of an integer. */
  integer(size: number, value: number | bigint): Buffer {
    const bytes = Buffer.alloc(size);
    let rest = BigInt.asUintN(size * 8, BigInt(value));
    for (let i = 0; i < size; i++) {
      bytes[this.#little ? i : size - 1 - i] = Number(rest & 255n);
      rest >>= 8n;
    }
    return bytes;
  }

  float(size: 4 | 8, value: number): Buffer {
    const bytes = Buffer.alloc(size);
    if (size === 4) bytes.writeFloatBE(value);
    else bytes.writeDoubleBE(value);
    return this.#little ? bytes.reverse() : bytes;
  }

  string(text: string): Buffer {
    return Buffer.concat([this.integer(8, Buffer.byteLength(text)), Buffer.from(text)]);
  }

  /** A key with the number of its type and the bytes of its value. */
  raw(name: string, type: number, ...value: Buffer[]): this {
    this.#keys.push(this.string(name), this.integer(4, type), ...value);
    this.keyCount++;
    return this;
  }

  u32(name: string, value: number): this {
    return this.raw(name, 4, this.integer(4, value));
  }

  f32(name: string, value: number): this {
    return this.raw(name, 6, this.float(4, value));
  }

  text(name: string, value: string): this {
    return this.raw(name, 8, this.string(value));
  }

  list(name: string, elementType: number, elements: Buffer[]): this {
    return this.raw(name, 9, this.integer(4, elementType), this.integer(8, elements.length), Buffer.concat(elements));
  }

  texts(name: string, values: string[]): this {
    return this.list(
      name,
      8,
      values.map((value) => this.string(value)),
    );
  }

  /** `sizes` innermost first, as in the file. The data begins at the next multiple of 32, or where `at` says. */
  tensor(
    name: string,
    sizes: (number | bigint)[],
    type: number,
    data: Buffer,
    at: number | bigint = this.#dataBytes,
  ): this {
    this.#infos.push(this.string(name), this.integer(4, sizes.length), ...sizes.map((size) => this.integer(8, size)));
    this.#infos.push(this.integer(4, type), this.integer(8, at));
    const padding = Buffer.alloc((32 - (data.length % 32)) % 32);
    this.#data.push(data, padding);
    this.#dataBytes += data.length + padding.length;
    this.tensorCount++;
    return this;
  }

  floats(name: string, values: number[]): this {
    return this.tensor(name, [values.length], 0, Buffer.concat(values.map((value) => this.float(4, value))));
  }

  header(): Buffer {
    const head = [Buffer.from('GGUF'), this.integer(4, this.#version)];
    head.push(this.integer(8, this.tensorCount), this.integer(8, this.keyCount), ...this.#keys, ...this.#infos);
    return Buffer.concat(head);
  }

  /** The whole file. It ends with the last tensor's data, without padding. */
  build(): Buffer {
    const header = this.header();
    const data = this.#data.slice(0, -1);
    return Buffer.concat([header, Buffer.alloc((32 - (header.length % 32)) % 32), ...data]);
  }
}

/** A model of one layer in some 3 kB, with one tensor of each kind, that imports without complaint. */
export function smallModel(options: { version?: number; byteOrder?: 'little' | 'big' } = {}): GgufBytes {
  const file = new GgufBytes(options);
  const a = 'bitnet-b1.58';
  file.text('general.architecture', a).text('general.name', 'small').u32(`${a}.block_count`, 1);
  file.u32(`${a}.embedding_length`, 16).u32(`${a}.feed_forward_length`, 32).u32(`${a}.context_length`, 64);
  file.u32(`${a}.attention.head_count`, 4).u32(`${a}.attention.head_count_kv`, 2);
  file.f32(`${a}.attention.layer_norm_rms_epsilon`, 2 ** -17).f32(`${a}.rope.freq_base`, 500000);
  file.text('tokenizer.ggml.model', 'gpt2').text('tokenizer.ggml.pre', 'llama-bpe');
  file.texts('tokenizer.ggml.tokens', ['a', 'b', 'é', 'ab', '<|eot_id|>', '</s>']);
  file.list(
    'tokenizer.ggml.token_type',
    5,
    [1, 1, 0, 1, 3, 3].map((type) => file.integer(4, type)),
  );
  file
    .texts('tokenizer.ggml.merges', ['a b'])
    .u32('tokenizer.ggml.bos_token_id', 4)
    .u32('tokenizer.ggml.eos_token_id', 5);
  const embedding = Array.from({ length: 8 * 16 }, (_, i) => file.float(4, i / 4));
  file.tensor('token_embd.weight', [16, 8], 0, Buffer.concat(embedding));
  file.floats('output_norm.weight', [1, 2, 3, 4]);
  const ternary = Buffer.concat([Buffer.alloc(64, 0b00_01_10_01), file.float(4, 0.5), Buffer.alloc(28)]);
  file.tensor('blk.0.attn_q.weight', [16, 16], 36, ternary);
  return file;
}
