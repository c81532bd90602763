// What is used here of browsers, which is not among Node's types.

/** The code that threads run, bundled: see bundle.mjs. */
declare const WORKER_SOURCE: string;

declare class Worker {
  constructor(url: string, options?: { readonly name?: string });
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onerror: ((event: { readonly message: string }) => void) | null;
  postMessage(message: unknown, transfer?: readonly unknown[]): void;
  terminate(): void;
}

interface Cache {
  match(url: string): Promise<Response | undefined>;
  put(url: string, response: Response): Promise<void>;
  delete(url: string): Promise<boolean>;
  keys(): Promise<readonly { readonly url: string }[]>;
}

/** Not there where the page's origin is not trustworthy. */
declare const caches: { open(name: string): Promise<Cache> } | undefined;

declare const crossOriginIsolated: boolean;
declare const navigator: { readonly hardwareConcurrency: number; readonly gpu?: GPU };
declare const isSecureContext: boolean;
declare const location: { readonly href: string; readonly origin: string };
