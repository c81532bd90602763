/** A field of a protobuf message. Reading it as another type than it has throws a RangeError. */
export interface ProtobufField {
  readonly number: number;
  /** Varint, as a signed 32-bit integer: what enums, booleans and int32 are. */
  integer(): number;
  float(): number;
  text(): string;
  message(): ProtobufReader;
}

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/** Protobuf's wire format, as far as files of SentencePiece need it. What is damaged throws a RangeError. */
export class ProtobufReader {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get length(): number {
    return this.#bytes.length;
  }

  *fields(): Generator<ProtobufField> {
    const bytes = this.#bytes;
    for (let at = 0; at < bytes.length; ) {
      const tag = varint(bytes, at);
      const value = readValue(bytes, tag.end, Number(tag.value & 7n));
      at = value.end;
      yield fieldOf(Number(tag.value >> 3n), Number(tag.value & 7n), value);
    }
  }
}

interface Value {
  readonly varint: bigint;
  readonly bytes: Uint8Array;
  readonly end: number;
}

function readValue(bytes: Uint8Array, at: number, type: number): Value {
  if (type === VARINT) {
    const { value, end } = varint(bytes, at);
    return { varint: value, bytes: bytes.subarray(at, end), end };
  }
  let from = at;
  let length = type === FIXED64 ? 8 : 4;
  if (type === BYTES) {
    const size = varint(bytes, at);
    if (size.value > BigInt(bytes.length)) throw new RangeError(`a field of ${size.value} bytes goes past the end`);
    from = size.end;
    length = Number(size.value);
  } else if (type !== FIXED64 && type !== FIXED32) throw new RangeError(`a field has the wire type ${type}`);
  if (from + length > bytes.length) throw new RangeError(`a field of ${length} bytes goes past the end`);
  return { varint: 0n, bytes: bytes.subarray(from, from + length), end: from + length };
}

function fieldOf(number: number, type: number, value: Value): ProtobufField {
  const need = (wanted: number) => {
    if (type !== wanted) throw new RangeError(`field ${number} has the wire type ${type} instead of ${wanted}`);
    return value;
  };
  return {
    number,
    integer: () => Number(BigInt.asIntN(32, need(VARINT).varint)),
    float: () => Buffer.from(need(FIXED32).bytes).readFloatLE(),
    text: () => new TextDecoder('utf-8', { ignoreBOM: true }).decode(need(BYTES).bytes),
    message: () => new ProtobufReader(need(BYTES).bytes),
  };
}

function varint(bytes: Uint8Array, at: number): { value: bigint; end: number } {
  let value = 0n;
  for (let n = 0; n < 10; n++) {
    const byte = bytes[at + n];
    if (byte === undefined) throw new RangeError('a number goes past the end');
    value |= BigInt(byte & 127) << BigInt(7 * n);
    if (byte < 128) return { value, end: at + n + 1 };
  }
  throw new RangeError('a number has more than 64 bits');
}
