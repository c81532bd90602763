import { BitnetError } from '../../../errors.ts';

/** GGUF's token types. */
export const NORMAL = 1;
export const UNKNOWN = 2;
export const CONTROL = 3;
export const USER_DEFINED = 4;
export const UNUSED = 5;
export const BYTE = 6;

/** Tokens by id, put together from files that name them in any order. */
export class TokenList {
  readonly #file: string;
  readonly #limit: number;
  readonly #tokens: string[] = [];
  readonly #types: number[] = [];

  /** `limit`: the rows of the embedding table. */
  constructor(file: string, limit: number) {
    this.#file = file;
    this.#limit = limit;
  }

  /** Throws BitnetError if the id is out of bounds, or another token's. */
  add(token: string, id: unknown, type: number): void {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0) throw this.#fault(token, `has the id ${id}`);
    if (id >= this.#limit) {
      throw this.#fault(token, `has the id ${id}, but the embedding table has ${this.#limit} rows`);
    }
    const other = this.#tokens[id];
    if (other !== undefined && other !== token)
      throw this.#fault(token, `has the id ${id} of ${JSON.stringify(other)}`);
    this.#tokens[id] = token;
    this.#types[id] = type;
  }

  at(id: number): string | undefined {
    return this.#tokens[id];
  }

  /** All tokens. An id that is no token's is an unused one, named as converters to GGUF name it. */
  list(): { readonly tokens: string[]; readonly types: number[] } {
    if (this.#tokens.length === 0) throw new BitnetError(`${this.#file}: the vocabulary is empty`);
    const tokens = Array.from(this.#tokens, (token: string | undefined, id) => token ?? padName(id));
    return { tokens, types: Array.from(this.#types, (type: number | undefined) => type ?? UNUSED) };
  }

  #fault(token: string, problem: string): BitnetError {
    return new BitnetError(`${this.#file}: the token ${JSON.stringify(token.slice(0, 80))} ${problem}`);
  }
}

/** The name of an id that is no token's. */
export function padName(id: number): string {
  return `[PAD${id}]`;
}
