import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';

/** What the Hub says of a file's bytes: their sha256 where it is kept in LFS, or the id of its git blob. */
export interface Checksum {
  readonly kind: 'sha256' | 'git';
  /** Hexadecimal digits. */
  readonly hex: string;
}

/** The checksums of a file while its bytes go by. */
export class Digest {
  readonly #sha256 = createHash('sha256');
  readonly #git: Hash | undefined;
  readonly #expected: string;

  /** @param bytes length of the whole file: a git blob's id begins with it */
  constructor({ kind, hex }: Checksum, bytes: number) {
    this.#expected = hex;
    if (kind === 'git') this.#git = createHash('sha1').update(`blob ${bytes}\0`);
  }

  update(chunk: Uint8Array): void {
    this.#sha256.update(chunk);
    this.#git?.update(chunk);
  }

  /** Ends the counting: the sha256, and whether the bytes are the expected ones. */
  end(): { readonly sha256: string; readonly matches: boolean; readonly found: string } {
    const sha256 = this.#sha256.digest('hex');
    const found = this.#git?.digest('hex') ?? sha256;
    return { sha256, matches: found === this.#expected, found };
  }
}

/** The bytes of a file in large pieces, for a digest to take. Ends with the signal's reason where that is aborted. */
export async function* readPieces(file: string, signal?: AbortSignal): AsyncGenerator<Buffer> {
  for await (const piece of createReadStream(file, { highWaterMark: 4 << 20 })) {
    signal?.throwIfAborted();
    yield piece;
  }
}
