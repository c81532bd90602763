import { BitnetError } from '../../../errors.ts';
import type { Gguf, Scalar, ScalarType } from './reader.ts';

/** Bounds of an integer, both included. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** Typed, bounds-checked access to the metadata of a file: what is missing or wrong is an error that names its key. */
export class Keys {
  readonly #gguf: Gguf;

  constructor(gguf: Gguf) {
    this.#gguf = gguf;
  }

  has(key: string): boolean {
    return this.#gguf.metadata.has(key);
  }

  /** The error for a key's value. */
  fault(key: string, problem: string, hint?: string): BitnetError {
    return new BitnetError(
      `${this.#gguf.file}: the metadata key ${key} ${problem}`,
      hint === undefined ? {} : { hint },
    );
  }

  integer(key: string, { min, max }: Range, otherwise?: number): number {
    const value = this.#scalar(key) ?? otherwise ?? this.#missing(key);
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    throw this.fault(key, `is ${show(value)}, not an integer from ${min} to ${max}`);
  }

  /** A finite number greater than zero. */
  positive(key: string, otherwise?: number): number {
    const value = this.#scalar(key) ?? otherwise ?? this.#missing(key);
    if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value;
    throw this.fault(key, `is ${show(value)}, not a number greater than zero`);
  }

  number(key: string): number {
    const value = this.#scalar(key) ?? this.#missing(key);
    if (typeof value === 'number') return value;
    throw this.fault(key, `is ${show(value)}, not a number`);
  }

  text(key: string, otherwise?: string): string {
    const value = this.#scalar(key) ?? otherwise ?? this.#missing(key);
    if (typeof value === 'string') return value;
    throw this.fault(key, `is ${show(value)}, not a text`);
  }

  boolean(key: string, otherwise: boolean): boolean {
    const value = this.#scalar(key) ?? otherwise;
    if (typeof value === 'boolean') return value;
    throw this.fault(key, `is ${show(value)}, neither true nor false`);
  }

  /** Whether a key is there and holds a list. */
  isList(key: string): boolean {
    return this.#gguf.metadata.get(key)?.type === 'array';
  }

  booleans(key: string): readonly boolean[] {
    return this.#array(key, ['bool']) as readonly boolean[];
  }

  texts(key: string): readonly string[] {
    return this.#array(key, ['string']) as readonly string[];
  }

  integers(key: string): readonly number[] {
    return this.#array(key, ['uint8', 'int8', 'uint16', 'int16', 'uint32', 'int32']) as readonly number[];
  }

  floats(key: string): readonly number[] {
    return this.#array(key, ['float32', 'float64']) as readonly number[];
  }

  #scalar(key: string): Scalar | undefined {
    const entry = this.#gguf.metadata.get(key);
    if (entry?.type === 'array') throw this.fault(key, 'is a list where a single value is needed');
    return entry?.value;
  }

  #array(key: string, types: readonly ScalarType[]): readonly Scalar[] {
    const entry = this.#gguf.metadata.get(key);
    if (entry === undefined) return [];
    if (entry.type === 'array' && (types.includes(entry.elementType) || entry.value.length === 0)) return entry.value;
    throw this.fault(key, `is not a list of ${types[0]}`);
  }

  #missing(key: string): never {
    throw this.fault(key, 'is missing');
  }
}

function show(value: Scalar): string {
  return typeof value === 'string'
    ? JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value)
    : String(value);
}
