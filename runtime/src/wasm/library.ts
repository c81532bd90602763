import { noRoom } from '../portable/room.ts';
import { LAYOUT } from './abi.ts';

/** A page of WebAssembly's memory. */
const PAGE = 65536;
/** What 32-bit addresses reach. */
export const MOST_BYTES = 65536 * PAGE;
/** Bytes of memory that programs ask for before they run: their constants, far less than this. */
const FIRST_PAGES = 32;
/** Of each thread. */
const STACK_BYTES = 1 << 20;

/**
 * Memory that a program and its threads share, and how many bytes it grows to at most: so many, or fewer where there are not
 * so many addresses in a row, as on phones.
 * @throws BitnetError where there is no memory at all
 */
export function newMemory(bytes = MOST_BYTES): { readonly memory: WebAssembly.Memory; readonly most: number } {
  const wanted = Math.min(bytes, MOST_BYTES);
  for (let maximum = Math.floor(wanted / PAGE); ; maximum = Math.floor(maximum * 0.75)) {
    try {
      const pages = Math.max(FIRST_PAGES, maximum);
      const memory = new WebAssembly.Memory({ initial: FIRST_PAGES, maximum: pages, shared: true });
      return { memory, most: Math.min(wanted, pages * PAGE) };
    } catch (cause) {
      if (maximum <= FIRST_PAGES) throw noRoom('the program', FIRST_PAGES * PAGE, undefined, cause);
    }
  }
}

/** Memory that is handed out from the bottom up and never given back: it goes with the model. */
export class Arena {
  readonly memory: WebAssembly.Memory;
  readonly #most: number;
  #end: number;

  /** Hands out what lies behind the first `begin` bytes, up to `most`. */
  constructor(memory: WebAssembly.Memory, begin: number, most = MOST_BYTES) {
    this.memory = memory;
    this.#most = Math.min(most, MOST_BYTES);
    this.#end = begin;
  }

  /** The address of so many zeroed bytes, 64-byte aligned. Views made before do not reach there. */
  take(bytes: number, what: string): number {
    const address = Math.ceil(this.#end / 64) * 64;
    const end = address + bytes;
    const missing = Math.ceil((end - this.memory.buffer.byteLength) / PAGE);
    if (end > this.#most) throw noRoom(what, end, this.#most);
    try {
      if (missing > 0) this.memory.grow(missing);
    } catch (cause) {
      throw noRoom(what, end, undefined, cause);
    }
    this.#end = end;
    return address;
  }
}

/** One kernel of a library. */
export interface KernelInfo {
  readonly name: string;
  readonly m: number;
  readonly k: number;
  readonly maxTokens: number;
  readonly scratchBytes: number;
  readonly weightBytes: number;
  /** Of its function in the table. */
  readonly run: number;
}

/** bn_model_info, its functions called as artifact/abi.h says. */
export interface ModelInfo {
  readonly abiVersion: number;
  readonly key: string;
  readonly vocab: number;
  readonly embedding: number;
  readonly maxTokens: number;
  readonly kernels: readonly KernelInfo[];
}

interface Exports {
  readonly bn_model: () => number;
  readonly __stack_pointer: WebAssembly.Global;
  readonly __heap_base: WebAssembly.Global;
  readonly __indirect_function_table: WebAssembly.Table;
}

type Call = (...args: (number | bigint)[]) => number | bigint;

/** A program instantiated by one thread. All of a model's threads share its memory. */
export class Library {
  readonly memory: WebAssembly.Memory;
  readonly info: ModelInfo;
  /** The first byte that the program itself does not use. */
  readonly heap: number;
  readonly #exports: Exports;
  readonly #functions: Readonly<
    Record<'workspace_bytes' | 'kv_bytes' | 'step' | 'self_test' | 'probe_read' | 'probe_dot', Call>
  >;

  constructor(module: WebAssembly.Module, memory: WebAssembly.Memory) {
    this.memory = memory;
    this.#exports = new WebAssembly.Instance(module, { env: { memory } }).exports as unknown as Exports;
    this.heap = this.#exports.__heap_base.value;
    const at = this.#exports.bn_model();
    const view = new DataView(memory.buffer);
    const member = (name: keyof typeof LAYOUT.bn_model_info) => view.getUint32(at + LAYOUT.bn_model_info[name], true);
    const call = (name: keyof typeof LAYOUT.bn_model_info) => this.function(member(name));
    this.info = {
      abiVersion: member('abi_version'),
      key: text(memory, member('key')),
      vocab: member('vocab'),
      embedding: member('embedding'),
      maxTokens: member('max_tokens'),
      kernels: kernelsOf(memory, member('kernels'), member('kernel_count')),
    };
    this.#functions = {
      workspace_bytes: call('workspace_bytes'),
      kv_bytes: call('kv_bytes'),
      step: call('step'),
      self_test: call('self_test'),
      probe_read: call('probe_read'),
      probe_dot: call('probe_dot'),
    };
  }

  /** The top of a new stack: each thread has its own. */
  stackIn(arena: Arena): number {
    return arena.take(STACK_BYTES, 'a stack') + STACK_BYTES;
  }

  /** Runs on the stack below that address from now on. */
  useStack(top: number): void {
    this.#exports.__stack_pointer.value = top;
  }

  /** A function of the program by its number in the table; that of a null pointer fails when it is called. */
  function(index: number): Call {
    return this.#exports.__indirect_function_table.get(index) as Call;
  }

  workspaceBytes(tokens: number, threads: number): number {
    return Number(this.#functions.workspace_bytes(tokens, threads));
  }

  kvBytes(type: number, capacity: number): number {
    return Number(this.#functions.kv_bytes(type, capacity));
  }

  step(args: number, thread: number): void {
    this.#functions.step(args, thread);
  }

  selfTest(weights: number, workspace: number, checksums: number): void {
    this.#functions.self_test(weights, workspace, checksums);
  }

  probeRead(data: number, bytes: number): void {
    this.#functions.probe_read(data, BigInt(bytes));
  }

  /** Multiply-accumulates of so many rounds. */
  probeDot(rounds: number, sink: number): number {
    return Number(this.#functions.probe_dot(BigInt(rounds), sink));
  }
}

function kernelsOf(memory: WebAssembly.Memory, table: number, count: number): KernelInfo[] {
  const view = new DataView(memory.buffer);
  const layout = LAYOUT.bn_kernel;
  return Array.from({ length: count }, (_, i) => {
    const at = table + i * layout.size;
    return {
      name: text(memory, view.getUint32(at + layout.name, true)),
      m: view.getInt32(at + layout.m, true),
      k: view.getInt32(at + layout.k, true),
      maxTokens: view.getInt32(at + layout.max_tokens, true),
      scratchBytes: view.getInt32(at + layout.scratch_bytes, true),
      weightBytes: Number(view.getBigInt64(at + layout.weight_bytes, true)),
      run: view.getUint32(at + layout.run, true),
    };
  });
}

/** A C string. */
function text(memory: WebAssembly.Memory, at: number): string {
  const bytes = new Uint8Array(memory.buffer, at);
  // What is shared with other threads cannot be decoded where it lies.
  return new TextDecoder().decode(bytes.slice(0, bytes.indexOf(0)));
}
