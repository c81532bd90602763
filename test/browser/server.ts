import { createReadStream, existsSync, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';

/** What a server does wrong, to see what a page makes of it. */
export interface Faults {
  /** Breaks the connection after so many bytes of the weights, once. */
  breakAfter?: number;
  /** Changes a byte of the weights. */
  corrupt?: boolean;
  /** Knows nothing of ranges. */
  noRanges?: boolean;
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
      const folder = Object.keys(folders).find((name) => path.startsWith(name)) ?? '';
      const file = join(folders[folder] ?? '', path.slice(folder.length), path.endsWith('/') ? 'index.html' : '');
      const size = existsSync(file) ? statSync(file).size : undefined;
      if (!(folder in folders) || size === undefined || path.includes('..')) {
        response.writeHead(404).end();
        return;
      }
      const from = this.faults.noRanges ? 0 : Number(/^bytes=(\d+)-$/.exec(range ?? '')?.[1] ?? 0);
      response.setHeader('Content-Type', TYPES[extname(file)] ?? 'application/octet-stream');
      if (from >= size && from > 0) {
        response.writeHead(416, { 'Content-Range': `bytes */${size}` }).end();
        return;
      }
      response.setHeader('Content-Length', size - from);
      if (from > 0) response.setHeader('Content-Range', `bytes ${from}-${size - 1}/${size}`);
      response.writeHead(from > 0 ? 206 : 200);
      const isWeights = path.endsWith('.bin') && path.includes('weights/');
      const breaks = isWeights ? this.faults.breakAfter : undefined;
      if (breaks !== undefined) delete this.faults.breakAfter;
      const content = createReadStream(file, {
        start: from,
        ...(breaks === undefined ? {} : { end: from + breaks - 1 }),
      });
      let sent = 0;
      content.on('data', (data) => {
        const chunk = data as Buffer;
        if (isWeights && this.faults.corrupt && sent === 0) chunk[100]! ^= 1;
        sent += chunk.length;
        response.write(chunk);
      });
      content.on('end', () => (breaks === undefined ? response.end() : setTimeout(() => response.destroy(), 50)));
    });
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
