import { BitnetError } from '../../../errors.ts';
import { finishInSlices } from '../../../slices.ts';
import { Sha256 } from './sha256.ts';
import { PIECE_BYTES, Store } from './store.ts';

/** A file as the manifest tells of it. */
export interface WantedFile {
  /** Relative to the artifact. */
  readonly file: string;
  readonly sha256: string;
  /** What it is, for errors. */
  readonly what: string;
}

/** How often a download that broke off is taken up again before that is an error, and how long it waits before it. */
const ATTEMPTS = 4;
const WAIT_MS = 500;

/**
 * The bytes of a file, piece by piece, each given away: first those that an earlier visit has stored, then the rest from the
 * network, where a download that breaks off goes on where it was. All but the end has been given when the hash is checked.
 * @throws BitnetError where the server does not give the file, and where it is not the one of the manifest
 */
export async function* download(
  url: string,
  { sha256, what }: WantedFile,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  const store = await Store.open();
  const checked = await store.checked(sha256);
  if (checked !== undefined) {
    yield* stored(url, store, sha256, checked, signal);
    return;
  }
  const hash = new Sha256();
  let index = 0;
  for (let whole = true; whole; index++) {
    const piece = await store.piece(sha256, index);
    if (!piece) break;
    signal?.throwIfAborted();
    await finishInSlices(hash.add(piece));
    whole = piece.length === PIECE_BYTES;
    yield piece;
  }
  let kept = true;
  for await (const piece of fetched(url, index * PIECE_BYTES, signal)) {
    await finishInSlices(hash.add(piece));
    kept = (await store.keep(sha256, index++, piece)) && kept;
    yield piece;
  }
  if (hash.hex() === sha256) {
    if (kept) await store.keepChecked(sha256, index);
    return;
  }
  await store.forget(sha256);
  throw new BitnetError(`${url} is damaged: it is not the ${what} that was compiled`, {
    hint: 'Load it again; if that does not help, copy the artifact to the server again.',
  });
}

/** A file that was checked when it came: it is too long to be checked at every visit. */
async function* stored(
  url: string,
  store: Store,
  sha256: string,
  pieces: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  for (let index = 0; index < pieces; index++) {
    const piece = await store.piece(sha256, index);
    signal?.throwIfAborted();
    if (!piece) {
      await store.forget(sha256);
      throw new BitnetError(`what the browser had stored of ${url} is not all there any more`, {
        hint: 'Load it again: it is downloaded anew.',
      });
    }
    yield piece;
  }
}

/** What a file has from a byte on, in pieces; a connection that breaks is made again from the last whole piece on. */
async function* fetched(
  url: string,
  from: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  let begin = from;
  for (let attempt = 1; ; attempt++) {
    try {
      for await (const piece of inPieces(request(url, begin, signal))) {
        begin += piece.length;
        attempt = 1;
        yield piece;
      }
      return;
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof BitnetError) throw cause;
      if (attempt === ATTEMPTS) {
        throw new BitnetError(`${url} cannot be downloaded: ${(cause as Error).message}`, {
          hint: 'What has come is kept: load the model again to go on from there.',
          cause,
        });
      }
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS * 2 ** attempt));
    }
  }
}

/** What a file has from a byte on, also where the server knows nothing of ranges. */
async function* request(
  url: string,
  from: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const headers: Record<string, string> = from > 0 ? { Range: `bytes=${from}-` } : {};
  const response = await fetch(url, { headers, ...(signal ? { signal } : {}) });
  // All of it is here: the range begins at the end.
  if (response.status === 416) return;
  if (!response.ok || !response.body) {
    throw new BitnetError(`${url} cannot be downloaded: the server answers ${response.status} ${response.statusText}`, {
      hint: 'The address is that of the folder with the file manifest.json, and the server must give all that is in it.',
    });
  }
  let skip = response.status === 206 ? 0 : from;
  const reader = response.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      if (skip < value.length) yield value.subarray(skip);
      skip = Math.max(0, skip - value.length);
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

/** Bytes as they come, in pieces of PIECE_BYTES and a last one of what is left. */
async function* inPieces(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  let piece = new Uint8Array(PIECE_BYTES);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const count = Math.min(chunk.length - at, PIECE_BYTES - filled);
      piece.set(chunk.subarray(at, at + count), filled);
      at += count;
      filled += count;
      if (filled < PIECE_BYTES) continue;
      yield piece;
      piece = new Uint8Array(PIECE_BYTES);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.slice(0, filled);
}
