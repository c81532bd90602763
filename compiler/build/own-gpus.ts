import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { z } from 'zod';
import { packageRoot } from '../../package-root.ts';

const run = promisify(execFile);

/** The program that asks NVIDIA's driver: runtime/native/runner.cpp. */
const HELPER = join(packageRoot(), 'build', 'addon', 'runner');

const schema = z.strictObject({ name: z.string(), capability: z.number(), l2: z.number(), driver: z.string() });

/** A GPU of this machine, as far as what is compiled for it depends on it. */
export interface OwnGpu {
  readonly name: string;
  /** Ten times its compute capability. */
  readonly capability: number;
  /** Bytes of its second-level cache. */
  readonly l2: number;
  /** The release of CUDA that the driver has, `13.0`. */
  readonly driver: string;
}

/** The GPUs of this machine in the order in which option `device` counts them; none where there is no driver. */
export async function ownGpus(): Promise<OwnGpu[]> {
  const listed = await run(HELPER, ['gpus']).catch(() => undefined);
  const lines = listed?.stdout.trim().split('\n').filter(Boolean) ?? [];
  return lines.map((line) => schema.parse(JSON.parse(line)));
}
