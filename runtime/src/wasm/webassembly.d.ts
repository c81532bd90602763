/** What is used here of the JavaScript API of WebAssembly, which TypeScript has among the types of browsers only. */
declare namespace WebAssembly {
  type Bytes = Uint8Array<ArrayBuffer> | ArrayBuffer;

  interface Module {
    readonly [Symbol.toStringTag]: 'WebAssembly.Module';
  }
  const Module: {
    customSections(module: Module, name: string): ArrayBuffer[];
  };

  class Memory {
    constructor(descriptor: { initial: number; maximum: number; shared: boolean });
    readonly buffer: ArrayBufferLike;
    grow(pages: number): number;
  }

  interface Global {
    value: number;
  }

  interface Table {
    get(index: number): unknown;
  }

  class Instance {
    constructor(module: Module, imports?: Record<string, Record<string, unknown>>);
    readonly exports: Record<string, unknown>;
  }

  function validate(bytes: Bytes): boolean;
  function compile(bytes: Bytes): Promise<Module>;
  function instantiate(bytes: Bytes): Promise<{ instance: Instance }>;
}
