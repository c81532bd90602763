import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a request is for. */
export interface Asked {
  readonly kind: 'info' | 'tree' | 'resolve' | 'cdn';
  /** Of the file, or empty. */
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
}

/** How a server misbehaves, once. */
export interface Fault {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Instead of the right bytes. */
  readonly body?: string | Buffer;
  /** The connection is cut after so many bytes of the body, once `until` is settled: what has not been read is lost. */
  readonly dropAfter?: number;
  readonly until?: () => Promise<void>;
  /** The body ends in good order after so many bytes, and says that this is all. */
  readonly endAfter?: number;
  /** Nothing comes after so many bytes, and the connection stays open. */
  readonly stallAfter?: number;
  readonly ignoreRange?: boolean;
  /** Called before the answer begins. */
  readonly before?: () => void;
}

type Files = Readonly<Record<string, string | Buffer>>;

const sha = (algorithm: string, ...parts: (string | Buffer)[]): string => {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
};
const gitBlob = (bytes: Buffer): string => sha('sha1', `blob ${bytes.length}\0`, bytes);
const isLfs = (path: string): boolean => /\.(gguf|safetensors|model)$/.test(path);

/**
 * A Hugging Face Hub on 127.0.0.1, after what its documentation and answers show: a model's commit, the listing of its
 * files in pages, small files as they are, large ones by redirection to a server of another origin, ranges in both.
 */
export class HubServer {
  /** `owner/name` → revision → commit. */
  readonly revisions: Record<string, Record<string, string>> = {};
  readonly asked: Asked[] = [];
  /** Says what goes wrong with a request; nothing does by default. */
  fault: (asked: Asked) => Fault | undefined = () => undefined;
  /** Changes what a listing says. */
  tamper: (entry: Record<string, unknown>) => unknown = (entry) => entry;
  pageSize = 1000;
  endpoint = '';
  /** The address of the other server. */
  elsewhere = '';
  readonly #commits = new Map<string, Map<string, Buffer>>();
  readonly #hub: Server;
  readonly #cdn: Server;

  private constructor() {
    this.#hub = createServer((request, response) => deliver(response, this.#answerHub(request)));
    this.#cdn = createServer((request, response) => deliver(response, this.#answerCdn(request)));
  }

  static async start(): Promise<HubServer> {
    const server = new HubServer();
    const listen = async (one: Server) => {
      await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
      one.unref();
      return `http://127.0.0.1:${(one.address() as AddressInfo).port}`;
    };
    server.endpoint = await listen(server.#hub);
    server.elsewhere = await listen(server.#cdn);
    return server;
  }

  stop(): void {
    for (const one of [this.#hub, this.#cdn]) {
      one.close();
      one.closeAllConnections();
    }
  }

  /** Commits files to a branch. Returns the commit. */
  publish(repo: string, files: Files, revision = 'main'): string {
    const buffers = new Map(Object.entries(files).map(([path, bytes]) => [path, Buffer.from(bytes)]));
    const commit = sha('sha1', repo, revision, ...[...buffers].flat());
    this.#commits.set(`${repo}@${commit}`, buffers);
    this.revisions[repo] = { ...this.revisions[repo], [revision]: commit };
    return commit;
  }

  /** Forgets what was asked and what goes wrong. */
  reset(): void {
    this.asked.length = 0;
    this.fault = () => undefined;
    this.tamper = (entry) => entry;
    this.pageSize = 1000;
  }

  #note({ headers }: IncomingMessage, kind: Asked['kind'], path: string): Fault {
    const asked = { kind, path, range: headers.range, authorization: headers.authorization };
    this.asked.push(asked);
    const fault = this.fault(asked) ?? {};
    fault.before?.();
    return fault;
  }

  #answerHub(request: IncomingMessage): Answer {
    const { pathname, searchParams } = new URL(request.url!, this.endpoint);
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(pathname);
    if (api) return this.#answerApi(request, api[1], api[2], decodeURIComponent(api[3]), searchParams);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(pathname);
    return file ? this.#resolve(request, file[1], decodeURIComponent(file[2]), file[3]) : refusal(404, 'RepoNotFound');
  }

  #answerApi(request: IncomingMessage, repo: string, what: string, revision: string, query: URLSearchParams): Answer {
    const fault = this.#note(request, what === 'tree' ? 'tree' : 'info', '');
    if (fault.body !== undefined) return { status: 200, headers: {}, body: fault.body, fault };
    const commit = this.#commitOf(repo, revision);
    if (!this.revisions[repo]) return refusal(401, 'RepoNotFound');
    if (!commit) return refusal(404, 'RevisionNotFound');
    if (what === 'tree') return { ...this.#list(repo, commit, Number(query.get('cursor') ?? 0)), fault };
    return { ...json({ _id: 'a1', id: repo, sha: commit, private: false }), fault };
  }

  #resolve(request: IncomingMessage, repo: string, revision: string, encoded: string): Answer {
    const path = decodeURIComponent(encoded);
    const fault = this.#note(request, 'resolve', path);
    const commit = this.#commitOf(repo, revision);
    const bytes = this.#commits.get(`${repo}@${commit}`)?.get(path);
    if (!bytes) return refusal(404, 'EntryNotFound');
    const headers = { 'X-Repo-Commit': commit!, ETag: `"${gitBlob(bytes)}"` };
    if (!isLfs(path) || fault.status) return part(request, bytes, headers, fault);
    return {
      status: 302,
      headers: {
        ...headers,
        'X-Linked-Etag': `"${sha('sha256', bytes)}"`,
        'X-Linked-Size': String(bytes.length),
        Location: `${this.elsewhere}/${repo}/${commit}/${encoded}`,
      },
      body: '',
    };
  }

  #answerCdn(request: IncomingMessage): Answer {
    const [, owner, name, commit, ...rest] = request.url!.split('/');
    const path = decodeURIComponent(rest.join('/'));
    const fault = this.#note(request, 'cdn', path);
    const bytes = this.#commits.get(`${owner}/${name}@${commit}`)?.get(path);
    return bytes ? part(request, bytes, { ETag: `"${sha('md5', bytes)}"` }, fault) : refusal(404, 'NoSuchKey');
  }

  #commitOf(repo: string, revision: string): string | undefined {
    return this.revisions[repo]?.[revision] ?? (this.#commits.has(`${repo}@${revision}`) ? revision : undefined);
  }

  #list(repo: string, commit: string, from: number): Answer {
    const files = [...this.#commits.get(`${repo}@${commit}`)!];
    const folders = new Set(files.map(([path]) => path.split('/').slice(0, -1).join('/')).filter(Boolean));
    const entries = [
      ...[...folders].map((path) => ({ type: 'directory', oid: sha('sha1', path), size: 0, path })),
      ...files.map(([path, bytes]) => {
        const file = { type: 'file', size: bytes.length, path };
        if (!isLfs(path)) return { ...file, oid: gitBlob(bytes) };
        const lfs = { oid: sha('sha256', bytes), size: bytes.length, pointerSize: 134 };
        return { ...file, oid: sha('sha1', `pointer to ${lfs.oid}`), lfs, xetHash: sha('sha256', 'xet', bytes) };
      }),
    ];
    const to = from + this.pageSize;
    const answer = json(entries.slice(from, to).map(this.tamper));
    if (to >= entries.length) return answer;
    const next = `${this.endpoint}/api/models/${repo}/tree/${commit}?recursive=true&cursor=${to}`;
    return { ...answer, headers: { ...answer.headers, Link: `<${next}>; rel="next"` } };
  }
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
  readonly fault?: Fault;
}

const JSON_TYPE = { 'Content-Type': 'application/json' };
const json = (value: unknown): Answer => ({ status: 200, headers: JSON_TYPE, body: JSON.stringify(value) });
const refusal = (status: number, code: string): Answer => ({
  status,
  headers: { ...JSON_TYPE, 'X-Error-Code': code },
  body: JSON.stringify({ error: code }),
});

/** The part of a file that a request asks for. */
function part(request: IncomingMessage, right: Buffer, headers: Answer['headers'], fault: Fault): Answer {
  const bytes = fault.body === undefined ? right : Buffer.from(fault.body);
  const range = fault.ignoreRange ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  if (!range) return { status: 200, headers: { ...headers, 'Accept-Ranges': 'bytes' }, body: bytes, fault };
  const from = Number(range[1]);
  const to = Math.min(Number(range[2] || bytes.length), bytes.length - 1);
  const rest = (what: string) => ({ ...headers, 'Content-Range': `bytes ${what}/${bytes.length}` });
  if (from >= bytes.length) return { status: 416, headers: rest('*'), body: '', fault };
  return { status: 206, headers: rest(`${from}-${to}`), body: bytes.subarray(from, to + 1), fault };
}

/** Sends an answer, as well as its fault lets it. */
function deliver(response: ServerResponse, { status, headers, body, fault = {} }: Answer): void {
  const bytes = Buffer.from(fault.status ? (fault.body ?? '') : body).subarray(0, fault.endAfter);
  response.writeHead(fault.status ?? status, { ...headers, 'Content-Length': bytes.length, ...fault.headers });
  if (fault.dropAfter !== undefined) {
    response.write(bytes.subarray(0, fault.dropAfter));
    (fault.until?.() ?? Promise.resolve()).then(() => response.destroy());
  } else if (fault.stallAfter !== undefined) response.write(bytes.subarray(0, fault.stallAfter));
  else response.end(bytes);
}
