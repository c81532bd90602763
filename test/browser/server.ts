import { existsSync, readFileSync, statSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** What a server does wrong, to see what a page makes of it. */
export interface Faults {
  /** Breaks the connection after so many bytes of the weights, once. */
  breakAfter?: number;
  /** Changes a byte of the files whose paths have this in them. */
  corrupt?: string;
  /** Puts some bytes more at the end of the weights. */
  longer?: boolean;
  /** Knows nothing of ranges. */
  noRanges?: boolean;
  /** Gives of a range so many bytes at most. */
  longestRange?: number;
  /** Answers 503 to so many requests for weights. */
  busy?: number;
  /** Compresses what is asked for whole. */
  gzip?: boolean;
  /** Gives the page instead of what is not there, and of the files whose paths have this in them. */
  pageFor?: string;
  /** Sends these headers with everything. */
  headers?: Readonly<Record<string, string>>;
  /** Answers nothing any more. */
  gone?: boolean;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

/** A static server of some folders, each under a name; with the headers that give pages threads, or without. */
export class StaticServer {
  readonly faults: Faults = {};
  /** Path, and the range asked for. */
  readonly requests: { readonly path: string; readonly range: string | undefined }[] = [];
  readonly #server: Server;

  constructor(folders: Readonly<Record<string, string>>, isolated: boolean) {
    this.#server = createServer((request, response) => {
      const path = decodeURIComponent(new URL(request.url!, 'http://server').pathname);
      const { range } = request.headers;
      this.requests.push({ path, range });
      if (this.faults.gone) {
        request.destroy();
        return;
      }
      if (isolated) {
        response.setHeader('Cross-Origin-Opener-Policy', 'same-origin');
        response.setHeader('Cross-Origin-Embedder-Policy', 'require-corp');
      }
      for (const [name, value] of Object.entries(this.faults.headers ?? {})) response.setHeader(name, value);
      const file = this.#find(folders, path);
      if (file === undefined) {
        response.writeHead(404).end();
        return;
      }
      const isWeights = path.endsWith('.bin') && path.includes('weights/');
      if (isWeights && this.faults.busy) {
        this.faults.busy--;
        response.writeHead(503).end();
        return;
      }
      this.#give(file, isWeights, range, response);
    });
  }

  #find(folders: Readonly<Record<string, string>>, path: string): string | undefined {
    const { pageFor } = this.faults;
    const folder = Object.keys(folders).find((name) => path.startsWith(name));
    if (folder === undefined || path.includes('..')) return undefined;
    const file = join(folders[folder]!, path.slice(folder.length), path.endsWith('/') ? 'index.html' : '');
    if (existsSync(file) && !(pageFor && path.includes(pageFor))) return file;
    return pageFor === undefined ? undefined : join(folders['/']!, 'index.html');
  }

  #give(file: string, isWeights: boolean, range: string | undefined, response: ServerResponse): void {
    const { noRanges, longestRange = Number.POSITIVE_INFINITY, corrupt, longer, gzip } = this.faults;
    const { size } = statSync(file);
    const from = noRanges ? 0 : Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
    response.setHeader('Content-Type', TYPES[extname(file)] ?? 'application/octet-stream');
    if (from >= size && from > 0) {
      response.writeHead(416, { 'Content-Range': `bytes */${size}` }).end();
      return;
    }
    const until = from > 0 ? Math.min(size, from + longestRange) : size;
    if (from > 0) response.setHeader('Content-Range', `bytes ${from}-${until - 1}/${size}`);
    const content = readFileSync(file).subarray(from, until);
    if (corrupt !== undefined && file.includes(corrupt)) content[100]! ^= 1;
    const whole = longer && isWeights ? Buffer.concat([content, Buffer.alloc(100)]) : content;
    const body = gzip && from === 0 ? gzipSync(whole, { level: 1 }) : whole;
    if (body !== whole) response.setHeader('Content-Encoding', 'gzip');
    response.setHeader('Content-Length', body.length);
    response.writeHead(from > 0 ? 206 : 200);
    const breaks = isWeights ? this.faults.breakAfter : undefined;
    if (breaks === undefined) {
      response.end(body);
      return;
    }
    delete this.faults.breakAfter;
    response.write(body.subarray(0, breaks), () => setTimeout(() => response.destroy(), 50));
  }

  /** Returns the address. */
  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
