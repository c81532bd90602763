import { BitnetError } from '../../../errors.ts';

/** A program compiled for the machine, ready to be instantiated by as many threads as there are. */
export interface Program {
  readonly module: WebAssembly.Module;
  /** Whether it is the one that uses relaxed SIMD. */
  readonly relaxed: boolean;
}

/** The custom section of a program that holds the same program built with relaxed SIMD. */
const RELAXED_SECTION = 'bitnet.relaxed';

/** (func (export "f") (param f32 f32 f32) (result f32)): what f32x4.relaxed_madd gives in the first lane. */
// biome-ignore format: sections of a module, one a line
const PROBE = Uint8Array.of(
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
  0x01, 0x08, 0x01, 0x60, 0x03, 0x7d, 0x7d, 0x7d, 0x01, 0x7d,
  0x03, 0x02, 0x01, 0x00,
  0x07, 0x05, 0x01, 0x01, 0x66, 0x00, 0x00,
  0x0a, 0x16, 0x01, 0x14, 0x00, 0x20, 0x00, 0xfd, 0x13, 0x20, 0x01, 0xfd, 0x13, 0x20, 0x02, 0xfd, 0x13,
  0xfd, 0x85, 0x02, 0xfd, 0x1f, 0x00, 0x0b,
);

/** Whether there is relaxed SIMD here at all. */
export const hasRelaxedSimd = (): boolean => WebAssembly.validate(PROBE);

/**
 * Whether relaxed SIMD gives the results that the other targets give: its multiply-add must round once. What else programs
 * use of it is the same on every implementation, for the values that they use it on.
 */
async function isExact(): Promise<boolean> {
  if (!hasRelaxedSimd()) return false;
  const { instance } = await WebAssembly.instantiate(PROBE);
  const multiplyAdd = instance.exports.f as (a: number, b: number, c: number) => number;
  return multiplyAdd(1 + 2 ** -23, 1 + 2 ** -23, -1 - 2 ** -22) === 2 ** -46;
}

/**
 * Compiles a program: of its two builds the one with relaxed SIMD where that is supported and exact.
 * @throws BitnetError where the bytes are no program
 */
export async function compileProgram(bytes: Uint8Array<ArrayBuffer>): Promise<Program> {
  const module = await compiled(bytes);
  const [relaxed] = WebAssembly.Module.customSections(module, RELAXED_SECTION);
  if (relaxed && (await isExact())) return { module: await compiled(new Uint8Array(relaxed)), relaxed: true };
  return { module, relaxed: false };
}

async function compiled(bytes: Uint8Array<ArrayBuffer>): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(bytes);
  } catch (cause) {
    throw new BitnetError(`this WebAssembly does not take the program: ${(cause as Error).message}`, {
      hint: 'It needs fixed-width SIMD and threads: Node 20, Chrome 91, Firefox 89 or Safari 16.4, or a later one; and of a Content-Security-Policy "script-src \'wasm-unsafe-eval\'".',
      cause,
    });
  }
}
