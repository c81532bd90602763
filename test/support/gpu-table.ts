/** A launch of a compiled model's table. */
export interface TableLaunch {
  readonly kernel: string;
  readonly threads: number;
  readonly sharedBytes: number;
}

/** Sizes of artifact/cuda.h. */
const NAME = 96;
const LAUNCH = NAME + 12 * 4 + 8;
const PROGRAM = 6 * 4 + 48 * LAUNCH;
const TRIAL = NAME + 2 * 4 + 2 * LAUNCH;
const SLICE = 4 * 8;
const SETUP = 4 + NAME + 7 * 4 + 8 * 8 + 48 * SLICE;
const COUNT = SETUP + PROGRAM;
const TRIALS = COUNT + 8 + 8 * PROGRAM;
const PROBE = TRIALS + 8 + 48 * TRIAL;
export const TABLE_BYTES = PROBE + LAUNCH + 8;

/** Every launch of the table, as it stands in the program's PTX. */
export function launchesOf(ptx: string): TableLaunch[] {
  const found = /\.global \.align 8 \.b8 bn_cuda\[(\d+)\] = \{([\d, ]+)\}/.exec(ptx);
  if (!found || Number(found[1]) !== TABLE_BYTES) throw new Error(`no table of ${TABLE_BYTES} bytes: ${found?.[1]}`);
  const table = Buffer.alloc(TABLE_BYTES);
  table.set(found[2]!.split(',').map(Number));
  const launchAt = (at: number): TableLaunch => ({
    kernel: table.toString('latin1', at, table.indexOf(0, at)),
    threads: table.readInt32LE(at + NAME),
    sharedBytes: table.readInt32LE(at + NAME + 4),
  });
  const programAt = (at: number): TableLaunch[] => {
    const parts = [8, 12, 16].map((offset) => table.readInt32LE(at + offset));
    const count = parts.reduce((sum, part) => sum + part, 0);
    return Array.from({ length: count }, (_, i) => launchAt(at + 24 + i * LAUNCH));
  };
  const programs = Array.from({ length: table.readInt32LE(COUNT) }, (_, i) => programAt(COUNT + 8 + i * PROGRAM));
  const trials = Array.from({ length: table.readInt32LE(TRIALS) }, (_, i) =>
    launchAt(TRIALS + 8 + (i + 1) * TRIAL - LAUNCH),
  );
  return [...programAt(SETUP), ...programs.flat(), ...trials, launchAt(PROBE)];
}
