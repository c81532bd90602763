import type { Cursor } from './cursor.ts';

export type ScalarType =
  | 'uint8'
  | 'int8'
  | 'uint16'
  | 'int16'
  | 'uint32'
  | 'int32'
  | 'float32'
  | 'bool'
  | 'string'
  | 'uint64'
  | 'int64'
  | 'float64';

/** 64-bit integers are numbers where that is exact, and bigints beyond. */
export type Scalar = number | bigint | boolean | string;

/** A metadata value and the type that the file gives it. */
export type MetadataValue =
  | { readonly type: ScalarType; readonly value: Scalar }
  | { readonly type: 'array'; readonly elementType: ScalarType; readonly value: readonly Scalar[] };

export type Metadata = ReadonlyMap<string, MetadataValue>;

/** The number of each type in the file is its place in this list. */
export const VALUE_TYPES: readonly (ScalarType | 'array')[] = [
  'uint8',
  'int8',
  'uint16',
  'int16',
  'uint32',
  'int32',
  'float32',
  'bool',
  'string',
  'array',
  'uint64',
  'int64',
  'float64',
];

/** The fewest bytes that a value of each type takes. */
const BYTES: Readonly<Record<ScalarType, number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint32: 4,
  int32: 4,
  float32: 4,
  bool: 1,
  string: 8,
  uint64: 8,
  int64: 8,
  float64: 8,
};

const READ: Readonly<Record<Exclude<ScalarType, 'string'>, (cursor: Cursor) => Scalar>> = {
  uint8: (cursor) => cursor.u8(),
  int8: (cursor) => cursor.i8(),
  uint16: (cursor) => cursor.u16(),
  int16: (cursor) => cursor.i16(),
  uint32: (cursor) => cursor.u32(),
  int32: (cursor) => cursor.i32(),
  float32: (cursor) => cursor.f32(),
  bool: readBool,
  uint64: (cursor) => narrow(cursor.u64()),
  int64: (cursor) => narrow(cursor.i64()),
  float64: (cursor) => cursor.f64(),
};

/** Bounds the memory that all arrays of one file take: a vocabulary of a quarter million has a million elements. */
const MAX_ELEMENTS = 1_500_000;

/** Reads metadata values, and counts the array elements of one file. */
export class ValueReader {
  readonly #cursor: Cursor;
  #elements = 0;

  constructor(cursor: Cursor) {
    this.#cursor = cursor;
  }

  /** A value with its type before it. */
  async read(): Promise<MetadataValue> {
    const type = await this.#type();
    if (type !== 'array') return { type, value: await this.#scalar(type) };
    const elementType = await this.#type();
    if (elementType === 'array') throw this.#cursor.fault('arrays of arrays are not supported');
    return { type, elementType, value: await this.#elementsOf(elementType) };
  }

  async #type(): Promise<ScalarType | 'array'> {
    await this.#cursor.need(4);
    const offset = this.#cursor.offset;
    const number = this.#cursor.u32();
    const type = VALUE_TYPES[number];
    if (type === undefined) throw this.#cursor.fault(`there is no metadata type ${number}`, offset);
    return type;
  }

  async #scalar(type: ScalarType): Promise<Scalar> {
    if (type === 'string') return this.#cursor.string();
    await this.#cursor.need(BYTES[type]);
    return READ[type](this.#cursor);
  }

  async #elementsOf(type: ScalarType): Promise<Scalar[]> {
    const cursor = this.#cursor;
    await cursor.need(8);
    const offset = cursor.offset;
    const count = cursor.count(BYTES[type], 'array elements');
    this.#elements += count;
    if (this.#elements > MAX_ELEMENTS) {
      throw cursor.fault(`the metadata has more than ${MAX_ELEMENTS} array elements`, offset);
    }
    const values: Scalar[] = new Array(count);
    // An await for each of a million elements would cost more than reading them.
    if (type === 'string') {
      for (let i = 0; i < count; i++) values[i] = cursor.windowString() ?? (await cursor.string());
    } else {
      for (let i = 0; i < count; i++) {
        if (!cursor.has(BYTES[type])) await cursor.need(BYTES[type]);
        values[i] = READ[type](cursor);
      }
    }
    return values;
  }
}

function readBool(cursor: Cursor): boolean {
  const offset = cursor.offset;
  const byte = cursor.u8();
  if (byte > 1) throw cursor.fault(`a truth value is ${byte}, neither 0 nor 1`, offset);
  return byte === 1;
}

function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
