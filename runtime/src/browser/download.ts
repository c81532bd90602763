import { BitnetError } from '../../../errors.ts';
import { finishInSlices } from '../../../slices.ts';
import { saidOf } from './said.ts';
import { Sha256 } from './sha256.ts';
import { digestOf, PIECE_BYTES, Store } from './store.ts';

/** A file as the manifest tells of it. */
export interface WantedFile {
  /** Relative to the artifact. */
  readonly file: string;
  readonly sha256: string;
  /** How many it has, where that is known. */
  readonly bytes?: number;
  /** What it is, for errors. */
  readonly what: string;
}

/** How often in a row a download may break off, and how long it waits the first time: then four times as long each time. */
const ATTEMPTS = 4;
const WAIT_MS = 250;

/**
 * The bytes of a file, piece by piece, each given away: first those that an earlier visit has stored, then the rest from the
 * network, where a download that breaks off goes on where it was. All but the end has been given when the hash is checked. Of a
 * file that was found right before, pieces are held against their digests of then, which a browser computes far faster than a
 * hash of all, and what has been damaged since is downloaded anew.
 * @throws BitnetError where the server does not give the file, and where it is not the one of the manifest
 */
export async function* download(
  url: string,
  { sha256, bytes = Number.POSITIVE_INFINITY, what }: WantedFile,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  const store = await Store.open();
  const known = await store.digests(sha256);
  const digests: string[] = [];
  const hash = new Sha256();
  let length = 0;
  /** Takes the next piece. False: it is not one of this file. */
  const isNext = async (piece: Uint8Array<ArrayBuffer>): Promise<boolean> => {
    const digest = await digestOf(piece);
    if (known ? digest !== known[digests.length] : length + piece.length > bytes) return false;
    if (!known) await finishInSlices(hash.add(piece));
    digests.push(digest);
    length += piece.length;
    return true;
  };
  for (;;) {
    const piece = await store.piece(sha256, digests.length);
    signal?.throwIfAborted();
    // A last piece may be the beginning of one, unless it is known.
    if (!piece || (!known && piece.length < PIECE_BYTES) || !(await isNext(piece))) break;
    yield piece;
  }
  if (known && digests.length === known.length) return;

  for await (const piece of inPieces(fetched(url, length, bytes, signal))) {
    if (!(await isNext(piece))) throw await damaged(store, url, sha256, what);
    await store.keep(sha256, digests.length - 1, piece);
    yield piece;
  }
  if (known ? digests.length < known.length : hash.hex() !== sha256) throw await damaged(store, url, sha256, what);
  await store.keepDigests(sha256, digests);
}

async function damaged(store: Store, url: string, sha256: string, what: string): Promise<BitnetError> {
  await store.forget(sha256);
  return new BitnetError(`${url} is damaged: it is not the ${what} file that was compiled`, {
    hint: 'Load it again; if that does not help, copy the artifact to the server again.',
  });
}

/** What a file has from a byte on. A connection that breaks, or ends before `bytes` have come, is made again from there. */
async function* fetched(
  url: string,
  from: number,
  bytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  let failures = 0;
  for (let at = from; at < bytes; ) {
    const begin = at;
    try {
      for await (const chunk of request(url, at, signal)) {
        at += chunk.length;
        failures = 0;
        yield chunk;
      }
    } catch (cause) {
      signal?.throwIfAborted();
      if (cause instanceof BitnetError) throw cause;
      if (++failures === ATTEMPTS) {
        throw new BitnetError(`${url} cannot be downloaded: ${saidOf(cause)}`, {
          hint: 'What has come is kept: load the model again to go on from there.',
          cause,
        });
      }
      await pause(WAIT_MS * 4 ** (failures - 1), signal);
      continue;
    }
    // Where nothing more comes, that is all there is.
    if (at === begin || bytes === Number.POSITIVE_INFINITY) return;
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
  const answer = answerOf(response);
  // It may be able to later.
  if (response.status >= 500 || response.status === 429) throw new Error(answer);
  if (answer !== undefined) {
    throw new BitnetError(`${url} cannot be downloaded: ${answer}`, {
      hint: 'The address is that of the folder with the file manifest.json, and the server must give all that is in it.',
    });
  }
  let skip = from - (response.status === 206 ? beginOf(response, from) : 0);
  if (skip < 0) throw new Error('the server gives another range than it was asked for');
  const reader = response.body!.getReader();
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

/** What a server answers instead of a file; undefined where it gives one. */
export function answerOf({ ok, status, statusText, headers }: Response): string | undefined {
  if (!ok) return `the server answers ${status} ${statusText}`.trimEnd();
  // Many servers give the page itself where there is no file.
  return headers.get('Content-Type')?.startsWith('text/html') ? 'the server answers with a page in HTML' : undefined;
}

/** Where a range begins; servers of other origins may not let it be read, then it is taken for the one asked for. */
function beginOf({ headers }: Response, asked: number): number {
  const [, begin = asked] = /^bytes (\d+)-/.exec(headers.get('Content-Range') ?? '') ?? [];
  return Number(begin);
}

/** @throws the signal's reason, as soon as it is aborted */
function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const aborted = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', aborted);
      resolve();
    }, milliseconds);
    signal?.addEventListener('abort', aborted, { once: true });
  });
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
