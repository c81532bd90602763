import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { probeMachine } from '../../artifact/machine.ts';

/** What tiles depend on, of the machine. */
export interface TuningMachine {
  /** The CPU's own name. */
  readonly cpu: string;
  /** Bytes of the data caches that one core reads through, the first level first. Empty where the system does not say. */
  readonly caches: readonly number[];
  /** What of it runs the model, where that is not the CPU. */
  readonly gpu?: TuningGpu;
}

/** What tiles depend on, of a GPU. */
export interface TuningGpu {
  readonly name: string;
  /** Ten times its compute capability. */
  readonly capability: number;
  /** Bytes of its second-level cache. */
  readonly l2: number;
  /** The release of NVIDIA's driver. */
  readonly driver: string;
}

const CPU0 = '/sys/devices/system/cpu/cpu0/cache';
const UNITS: Readonly<Record<string, number>> = { '': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 };

/** The size that Linux writes as `48K`, in bytes. */
export function parseCacheSize(text: string): number {
  const [, digits, unit] = /^(\d+)([KMG]?)\s*$/.exec(text) ?? [];
  return digits === undefined ? 0 : Number(digits) * UNITS[unit!]!;
}

function linuxCaches(folder = CPU0): number[] {
  const caches: { level: number; bytes: number }[] = [];
  for (const index of readdirSync(folder).filter((name) => /^index\d+$/.test(name))) {
    const read = (file: string) => readFileSync(join(folder, index, file), 'utf8');
    if (read('type').trim() === 'Instruction') continue;
    caches.push({ level: Number(read('level')), bytes: parseCacheSize(read('size')) });
  }
  return caches.sort((a, b) => a.level - b.level).map(({ bytes }) => bytes);
}

function darwinCaches(): number[] {
  return ['hw.l1dcachesize', 'hw.l2cachesize', 'hw.l3cachesize'].flatMap((name) => {
    const bytes = Number(
      execFileSync('sysctl', ['-n', name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }),
    );
    return bytes > 0 ? [bytes] : [];
  });
}

/** The machine that this process runs on. */
export function tuningMachine(): TuningMachine {
  let caches: number[] = [];
  try {
    caches = process.platform === 'linux' ? linuxCaches() : process.platform === 'darwin' ? darwinCaches() : [];
  } catch {
    // A container or a virtual machine that does not say.
  }
  return { cpu: probeMachine().cpu, caches };
}
