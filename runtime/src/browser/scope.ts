/** What a Web Worker has for the messages of the page. */
export interface Scope {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
}

export const thisThread = (): Scope => globalThis as unknown as Scope;
