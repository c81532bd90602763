/** Bytes that are stored together, and need not be downloaded again once they are. */
export const PIECE_BYTES = 4 << 20;

const NAME = 'bitnet-toolchain';

/** The files of models that this origin has downloaded, whole or in part, by their sha256: a Cache of the page's origin. */
export class Store {
  readonly #cache: Cache | undefined;

  private constructor(cache: Cache | undefined) {
    this.#cache = cache;
  }

  /** Where the browser has none, as on pages that are not trustworthy, nothing is ever found in it. */
  static async open(): Promise<Store> {
    try {
      return new Store(typeof caches === 'undefined' ? undefined : await caches.open(NAME));
    } catch {
      return new Store(undefined);
    }
  }

  /** A piece of a file, or undefined. */
  async piece(sha256: string, index: number): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return this.#get(`${sha256}/${index}`);
  }

  /** Whether there was room for it. */
  async keep(sha256: string, index: number, piece: Uint8Array<ArrayBuffer>): Promise<boolean> {
    return this.#put(`${sha256}/${index}`, piece);
  }

  /** How many pieces a file has that was checked when it came; undefined where it is not here, or not all of it. */
  async checked(sha256: string): Promise<number | undefined> {
    const bytes = await this.#get(`${sha256}/checked`);
    return bytes && Number(new TextDecoder().decode(bytes));
  }

  async keepChecked(sha256: string, pieces: number): Promise<void> {
    await this.#put(`${sha256}/checked`, new TextEncoder().encode(String(pieces)));
  }

  /** Forgets a file. */
  async forget(sha256: string): Promise<void> {
    await this.#cache?.delete(keyOf(`${sha256}/checked`));
    for (let index = 0; await this.#cache?.delete(keyOf(`${sha256}/${index}`)); index++);
  }

  /** A text that was kept under the address it came from. */
  async text(url: string): Promise<string | undefined> {
    const bytes = await this.#get(encodeURIComponent(url));
    return bytes && new TextDecoder().decode(bytes);
  }

  async keepText(url: string, text: string): Promise<void> {
    await this.#put(encodeURIComponent(url), new TextEncoder().encode(text));
  }

  async #get(name: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const response = await this.#cache?.match(keyOf(name));
    return response && new Uint8Array(await response.arrayBuffer());
  }

  async #put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    try {
      await this.#cache?.put(keyOf(name), new Response(bytes));
      return this.#cache !== undefined;
    } catch {
      // The origin's quota is used up: it works without.
      return false;
    }
  }
}

const keyOf = (name: string): string => `${location.origin}/${NAME}/${name}`;
