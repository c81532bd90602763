import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** The architecture of programs for WebAssembly: every machine has it, in Node or in a browser. */
export const WASM = 'wasm32';

/** What targets have for an architecture that run wherever there is WebGPU. */
export const WEBGPU = 'webgpu';

/** What targets have for an architecture that run where there is WebGL: in browsers. */
export const WEBGL = 'webgl';

/** The machine as kernels see it. */
export interface Machine {
  /** `x86-64`, `aarch64`, or Node's own name for anything else. */
  readonly arch: string;
  /** Feature names as Linux spells them: `avx2`, `fma`, `f16c`, `avx512_vnni`, `asimddp`, … */
  readonly features: ReadonlySet<string>;
  /** The CPU's own name, for reports. */
  readonly cpu: string;
}

/** Whether a machine runs programs of an architecture; `any` is that of code that fits the machine it was built on. */
export const runsOn = (arch: string, machine: Pick<Machine, 'arch'>): boolean =>
  arch === 'any' || arch === WASM || arch === machine.arch;

const ARCH: Record<string, string> = { x64: 'x86-64', arm64: 'aarch64' };

/** macOS names for what Linux calls otherwise. */
const DARWIN: Record<string, readonly string[]> = {
  'hw.optional.arm.FEAT_DotProd': ['asimd', 'asimddp'],
  'hw.optional.arm.FEAT_I8MM': ['i8mm'],
  'hw.optional.avx2_0': ['avx2', 'fma', 'f16c'],
  'hw.optional.avx512f': ['avx512f'],
  'hw.optional.avx512bw': ['avx512bw'],
  'hw.optional.avx512vl': ['avx512vl'],
  'hw.optional.avx512vnni': ['avx512_vnni'],
};

/**
 * Reads what this machine's CPU can do, without running any native code.
 * Where the system does not say (Windows), only the portable target is offered.
 */
export function probeMachine(): Machine {
  const arch = ARCH[process.arch] ?? process.arch;
  if (process.platform === 'linux') return { arch, ...fromCpuinfo(readFileSync('/proc/cpuinfo', 'utf8')) };
  if (process.platform === 'darwin')
    return { arch, ...fromSysctl(execFileSync('sysctl', ['-a'], { encoding: 'utf8' })) };
  return { arch, features: new Set(), cpu: 'unknown' };
}

/** Linux: the `flags` (x86) or `Features` (Arm) line of the first CPU. */
export function fromCpuinfo(text: string): { features: ReadonlySet<string>; cpu: string } {
  const line = (key: string) => new RegExp(`^${key}\\s*:\\s*(.*)$`, 'm').exec(text)?.[1] ?? '';
  const features = new Set(`${line('flags')} ${line('Features')}`.split(/\s+/).filter(Boolean));
  return { features, cpu: line('model name') || line('CPU part') || 'unknown' };
}

/** macOS: the `hw.optional` switches that are on. */
export function fromSysctl(text: string): { features: ReadonlySet<string>; cpu: string } {
  const features = new Set<string>();
  for (const [key, names] of Object.entries(DARWIN)) {
    if (new RegExp(`^${key.replaceAll('.', '\\.')}: 1$`, 'm').test(text)) for (const name of names) features.add(name);
  }
  return { features, cpu: /^machdep\.cpu\.brand_string: (.*)$/m.exec(text)?.[1] ?? 'unknown' };
}
