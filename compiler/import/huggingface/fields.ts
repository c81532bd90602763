import { BitnetError } from '../../../errors.ts';
import { withFile } from '../file.ts';

/** A JSON object, as JSON.parse gives it. */
export type Json = Readonly<Record<string, unknown>>;

/** Files of settings have a few kilobytes, and a tokenizer of 262,144 tokens has 33 MB. */
export const MAX_SETTINGS = 16 << 20;
export const MAX_TOKENIZER = 256 << 20;

/** A JSON file that must hold an object. Throws BitnetError where it is missing, larger than `maxBytes`, or not JSON. */
export async function readJson(file: string, maxBytes: number): Promise<Json> {
  const text = new TextDecoder('utf-8', { fatal: true });
  try {
    const value: unknown = JSON.parse(text.decode(await readSmall(file, maxBytes)));
    if (isObject(value)) return value;
  } catch (error) {
    if (error instanceof BitnetError) throw error;
    throw new BitnetError(`${file} is not JSON: ${(error as Error).message.slice(0, 200)}`, { cause: error });
  }
  throw new BitnetError(`${file} does not hold a JSON object`);
}

/** All of a file. Throws BitnetError where it is missing or larger than `maxBytes`. */
export async function readSmall(file: string, maxBytes: number): Promise<Buffer> {
  return withFile(file, async (handle) => {
    const { size } = await handle.stat();
    if (size > maxBytes) throw new BitnetError(`${file} has ${size} bytes, more than ${maxBytes}`);
    return handle.readFile();
  });
}

/** Whether a value of JSON is an object. */
export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Typed, bounds-checked access to a JSON object: what is missing or wrong is an error that names file and key. */
export class Fields {
  readonly #file: string;
  readonly #path: string;
  readonly #values: Json;

  constructor(file: string, values: Json, path = '') {
    this.#file = file;
    this.#values = values;
    this.#path = path;
  }

  /** Null counts as absent, as it does in Python. */
  has(key: string): boolean {
    return this.#value(key) !== undefined;
  }

  /** The error for a key's value. */
  fault(key: string, problem: string, hint?: string): BitnetError {
    return new BitnetError(`${this.#file}: "${this.#path}${key}" ${problem}`, hint === undefined ? {} : { hint });
  }

  integer(key: string, { min, max }: { min: number; max: number }, otherwise?: number): number {
    const value = this.#value(key) ?? otherwise ?? this.#missing(key);
    if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max) return value;
    throw this.fault(key, `is ${show(value)}, not an integer from ${min} to ${max}`);
  }

  /** A finite number greater than zero. */
  positive(key: string, otherwise?: number): number {
    const value = this.#value(key) ?? otherwise ?? this.#missing(key);
    if (typeof value === 'number' && value > 0 && Number.isFinite(value)) return value;
    throw this.fault(key, `is ${show(value)}, not a number greater than zero`);
  }

  text(key: string, otherwise?: string): string {
    const value = this.#value(key) ?? otherwise ?? this.#missing(key);
    if (typeof value === 'string') return value;
    throw this.fault(key, `is ${show(value)}, not a text`);
  }

  boolean(key: string, otherwise: boolean): boolean {
    const value = this.#value(key) ?? otherwise;
    if (typeof value === 'boolean') return value;
    throw this.fault(key, `is ${show(value)}, neither true nor false`);
  }

  /** A list; empty where it is absent. */
  list(key: string): readonly unknown[] {
    const value = this.#value(key) ?? [];
    if (Array.isArray(value)) return value;
    throw this.fault(key, `is ${show(value)}, not a list`);
  }

  /** An object; undefined where it is absent. */
  object(key: string): Fields | undefined {
    const value = this.#value(key);
    if (value === undefined) return undefined;
    if (isObject(value)) return new Fields(this.#file, value, `${this.#path}${key}.`);
    throw this.fault(key, `is ${show(value)}, not an object`);
  }

  /** What is there, of any type. */
  raw(key: string): unknown {
    return this.#value(key);
  }

  keys(): readonly string[] {
    return Object.keys(this.#values);
  }

  #value(key: string): unknown {
    return Object.hasOwn(this.#values, key) ? (this.#values[key] ?? undefined) : undefined;
  }

  #missing(key: string): never {
    throw this.fault(key, 'is missing');
  }
}

/** A value of JSON, short enough for a message. */
export function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
