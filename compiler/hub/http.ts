import { BitnetError } from '../../errors.ts';
import { Interruption } from './retry.ts';

/** An answer whose body is read in pieces, or cancelled. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  /** The body. Throws an Interruption where the connection is lost or the server falls silent. */
  readonly pieces: () => AsyncGenerator<Uint8Array>;
  readonly cancel: () => Promise<void>;
}

/** What nothing but the user can mend. */
const CERTIFICATE = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ERR_TLS/;

/**
 * Sends a GET request, and follows redirects: as in every fetch, credentials stay behind where one leads to another host.
 * Throws an Interruption for a connection that fails or stalls, and the signal's reason where that is aborted.
 */
export async function get(
  url: URL,
  headers: Readonly<Record<string, string>>,
  { stallMs, signal }: { readonly stallMs: number; readonly signal?: AbortSignal },
): Promise<Reply> {
  const stall = new AbortController();
  const timer = setTimeout(() => stall.abort(), stallMs).unref();
  const explain = (cause: unknown): unknown => {
    if (signal?.aborted) return signal.reason;
    if (stall.signal.aborted)
      return new Interruption(`${url.host} has sent nothing for ${stallMs / 1000} s`, { cause });
    const { code, message } = rootOf(cause);
    const why = message || code || 'for no known reason';
    if (code && CERTIFICATE.test(code)) return new BitnetError(`no safe connection to ${url.host}: ${why}`, { cause });
    return new Interruption(`the connection to ${url.host} failed: ${why}`, { cause });
  };
  const end = AbortSignal.any(signal ? [stall.signal, signal] : [stall.signal]);
  let response: Response;
  try {
    response = await fetch(url, { headers, signal: end });
  } catch (error) {
    clearTimeout(timer);
    throw explain(error);
  }
  return {
    status: response.status,
    headers: response.headers,
    async *pieces() {
      try {
        for await (const piece of response.body ?? []) {
          timer.refresh();
          yield piece;
        }
      } catch (error) {
        throw explain(error);
      } finally {
        clearTimeout(timer);
      }
    },
    async cancel() {
      clearTimeout(timer);
      await response.body?.cancel().catch(() => {});
    },
  };
}

/** What `fetch` wraps its errors around. */
function rootOf(error: unknown): { readonly code?: string; readonly message: string } {
  let root = error;
  while (root instanceof Error && root.cause !== undefined) root = root.cause;
  return root instanceof Error ? root : { message: String(root) };
}

/** The body of an answer as text. Throws a BitnetError where it is longer than `limit` bytes. */
export async function readText(reply: Reply, limit: number): Promise<string> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of reply.pieces()) {
    bytes += piece.length;
    if (bytes > limit) throw new BitnetError(`the answer is longer than ${limit} bytes, which no Hub's is`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}
