import { z } from 'zod';
import { BitnetError } from '../../errors.ts';
import type { Checksum } from './digest.ts';
import { get, type Reply, readText } from './http.ts';
import { type ModelId, modelName } from './names.ts';
import { Interruption, PATIENCE, type Patience, withRetries } from './retry.ts';

const HUB = 'https://huggingface.co';
/** What a page of a listing may measure, and how many there may be: far more than any model has. */
const MAX_ANSWER_BYTES = 16 << 20;
const MAX_ANSWERS = 200;

/** A file of a repository, as the Hub announces it. */
export interface HubFile {
  /** Its name in the repository: not to be trusted, see `isSafePath`. */
  readonly path: string;
  readonly bytes: number;
  readonly checksum: Checksum;
}

/** A model at the commit that its revision stands for. */
export interface HubModel {
  readonly commit: string;
  readonly files: readonly HubFile[];
}

export interface HubOptions {
  /** An access token, for private and gated models. Default: HF_TOKEN. */
  readonly token?: string;
  /** Address of the Hub or of a mirror. Default: HF_ENDPOINT, or https://huggingface.co. */
  readonly endpoint?: string;
  readonly patience?: Patience;
  readonly signal?: AbortSignal;
  /** Told why something is tried again, and when. */
  readonly onRetry?: (message: string) => void;
}

const entrySchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('file'),
    path: z.string().min(1),
    size: z.int().nonnegative(),
    oid: z.string().regex(/^[0-9a-f]{40}$/),
    lfs: z.object({ oid: z.string().regex(/^[0-9a-f]{64}$/), size: z.int().nonnegative() }).optional(),
  }),
  z.object({ type: z.literal('directory') }),
  z.object({ type: z.literal('unknown') }),
]);
const commitSchema = z.string().regex(/^[0-9a-f]{40}$/);

/** The Hugging Face Hub, or a mirror of it. */
export class Hub {
  readonly #endpoint: URL;
  readonly #token: string | undefined;
  readonly #options: HubOptions;
  readonly #patience: Patience;

  /** @throws BitnetError for an address or a token that cannot be one */
  constructor(options: HubOptions = {}) {
    this.#options = options;
    this.#patience = options.patience ?? PATIENCE;
    this.#endpoint = parseEndpoint(options.endpoint || process.env.HF_ENDPOINT || HUB);
    this.#token = (options.token || process.env.HF_TOKEN || '').trim() || undefined;
    if (this.#token && !/^[\x21-\x7e]+$/.test(this.#token)) {
      throw new BitnetError('the access token has characters that no token has', {
        hint: 'see --token and the variable HF_TOKEN',
      });
    }
  }

  get signal(): AbortSignal | undefined {
    return this.#options.signal;
  }

  /** Does work that asks this Hub again after an Interruption. */
  retrying<T>(work: () => Promise<T>): Promise<T> {
    const { signal, onRetry } = this.#options;
    return withRetries(work, { patience: this.#patience, signal, onRetry });
  }

  /**
   * The commit and the files of a model.
   * @throws BitnetError where there is none, it may not be read, or the answer makes no sense
   */
  async describe(id: ModelId): Promise<HubModel> {
    const { listFiles, modelInfo } = await import('@huggingface/hub');
    const common = { hubUrl: this.#address(''), fetch: this.#fetchFor(id) };
    try {
      const info = await modelInfo({ name: id.repo, revision: id.revision, additionalFields: ['sha'], ...common });
      const commit = commitSchema.parse(info.sha);
      const repo = { type: 'model', name: id.repo } as const;
      const files: HubFile[] = [];
      for await (const entry of listFiles({ repo, revision: commit, recursive: true, ...common })) {
        const file = entrySchema.parse(entry);
        if (file.type !== 'file') continue;
        const { path, oid, lfs } = file;
        const checksum: Checksum = lfs ? { kind: 'sha256', hex: lfs.oid } : { kind: 'git', hex: oid };
        files.push({ path, bytes: lfs?.size ?? file.size, checksum });
      }
      return { commit, files };
    } catch (cause) {
      this.#options.signal?.throwIfAborted();
      if (cause instanceof BitnetError) throw cause;
      throw new BitnetError(`${this.#endpoint.host} does not answer as the Hugging Face Hub does`, {
        hint: 'check the address in HF_ENDPOINT',
        cause,
      });
    }
  }

  /**
   * Asks for a file from byte `from` on. The answer's status is 200 (from the beginning, whatever was asked for), 206 or
   * 416 (there is nothing from there on). Throws an Interruption where it is worth asking again.
   */
  async open(id: ModelId, commit: string, path: string, from: number): Promise<Reply> {
    const name = path.split('/').map(encodeURIComponent).join('/');
    const url = new URL(this.#address(`/${id.repo}/resolve/${commit}/${name}`));
    // A compressed answer has no ranges that one could go on from.
    const headers = { 'Accept-Encoding': 'identity', ...(from > 0 && { Range: `bytes=${from}-` }) };
    const reply = await this.#get(url, headers);
    if (reply.status === 416 && from > 0) return reply;
    return this.#accept(reply, id, path);
  }

  /** The library's own requests: the address as it has made it, the rest as ours. */
  #fetchFor(id: ModelId): typeof fetch {
    let asked = 0;
    return async (input) => {
      if (++asked > MAX_ANSWERS) throw new BitnetError(`${this.#endpoint.host} lists files without an end`);
      return this.retrying(async () => {
        const reply = await this.#get(new URL(String(input)), { Accept: 'application/json' });
        const text = await readText(await this.#accept(reply, id), MAX_ANSWER_BYTES);
        const link = reply.headers.get('Link');
        return new Response(text, { headers: link === null ? {} : { Link: link } });
      });
    };
  }

  #address(path: string): string {
    return this.#endpoint.href.replace(/\/+$/, '') + path;
  }

  #get(url: URL, headers: Record<string, string>): Promise<Reply> {
    const trusted = url.origin === this.#endpoint.origin;
    const authorization = this.#token && trusted ? { Authorization: `Bearer ${this.#token}` } : undefined;
    const { signal } = this.#options;
    return get(url, { ...headers, ...authorization }, { stallMs: this.#patience.stallMs, signal });
  }

  /** Gives back an answer that is a success, and says of any other what it means. */
  async #accept(reply: Reply, id: ModelId, path?: string): Promise<Reply> {
    const { status, headers } = reply;
    if (status === 200 || status === 206) return reply;
    await reply.cancel();
    const { host } = this.#endpoint;
    if (status === 408 || status === 429 || status >= 500) {
      throw new Interruption(`${host} answers ${status}`, { askedMs: askedWait(headers) });
    }
    const code = headers.get('X-Error-Code');
    if (code === 'GatedRepo') {
      throw new BitnetError(`${id.repo} is gated, and access has not been granted`, {
        hint: `accept its conditions at ${this.#address(`/${id.repo}`)}, then give your token: --token or HF_TOKEN`,
      });
    }
    if (code === 'RevisionNotFound') throw new BitnetError(`${id.repo} has no revision '${id.revision}'`);
    if (code === 'EntryNotFound') throw new BitnetError(`${modelName(id)} has no file ${path}`);
    // The Hub says 401 of what is private and of what does not exist, so that nobody can tell them apart.
    if ([401, 403, 404].includes(status)) {
      throw new BitnetError(`${host} has no model ${modelName(id)}, or it is not for you to see (status ${status})`, {
        hint: this.#token
          ? 'check the name, and that your token may read it'
          : 'check the name; for a private or gated model give your token: --token or HF_TOKEN',
      });
    }
    throw new BitnetError(`${host} answers ${status} to a request for ${path ?? modelName(id)}`);
  }
}

function parseEndpoint(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && ['http:', 'https:'].includes(url.protocol) && !(url.search + url.hash + url.username)) return url;
  throw new BitnetError(`'${text}' is no address of a Hub`, {
    hint: 'HF_ENDPOINT is an address like https://huggingface.co',
  });
}

/** Milliseconds that a busy server asks to wait: `Retry-After: 30`, or the Hub's `RateLimit: "api";r=0;t=30`. */
function askedWait(headers: Headers): number {
  const seconds = headers.get('Retry-After') ?? /;\s*t=(\d+)/.exec(headers.get('RateLimit') ?? '')?.[1];
  return Number(seconds) * 1000 || 0;
}
