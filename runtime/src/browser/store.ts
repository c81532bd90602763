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

  /** Keeps a piece, where there is room for it. */
  async keep(sha256: string, index: number, piece: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#put(`${sha256}/${index}`, piece);
  }

  /** The digests of a file's pieces, where all of it has come and was what it should be. */
  async digests(sha256: string): Promise<readonly string[] | undefined> {
    const bytes = await this.#get(`${sha256}/digests`);
    const digests = bytes && new TextDecoder().decode(bytes).split('\n');
    return digests?.every((digest) => /^[0-9a-f]{64}$/.test(digest)) ? digests : undefined;
  }

  async keepDigests(sha256: string, digests: readonly string[]): Promise<void> {
    await this.#put(`${sha256}/digests`, new TextEncoder().encode(digests.join('\n')));
  }

  /** Forgets a file. */
  async forget(sha256: string): Promise<void> {
    try {
      for (const request of (await this.#cache?.keys()) ?? []) {
        if (request.url.startsWith(keyOf(`${sha256}/`))) await this.#cache?.delete(request.url);
      }
    } catch {
      // What cannot be reached is not found either.
    }
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
    try {
      const response = await this.#cache?.match(keyOf(name));
      return response && new Uint8Array(await response.arrayBuffer());
    } catch {
      // The browser has lost what it had stored.
      return undefined;
    }
  }

  async #put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    try {
      await this.#cache?.put(keyOf(name), new Response(bytes));
    } catch {
      // The origin's quota is used up: it works without.
    }
  }
}

const keyOf = (name: string): string => `${location.origin}/${NAME}/${name}`;

/** What tells a stored piece from a damaged one: its SHA-256, computed by the browser; nothing where it does not, nor stores. */
export async function digestOf(piece: Uint8Array<ArrayBuffer>): Promise<string> {
  const { subtle } = globalThis.crypto;
  if (!subtle) return '';
  const digest = new Uint8Array(await subtle.digest('SHA-256', piece));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
