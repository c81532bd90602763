import { BitnetError } from '../../errors.ts';
import { writeAll, writeWhole } from '../export/whole-file.ts';
import { withFile } from '../import/file.ts';

/** The tile of one matrix shape, as a kernel .ini gives it. */
export interface KernelSection {
  /** What stands in the brackets. */
  readonly name: string;
  /** Where: the line of the brackets, counted from 1. */
  readonly line: number;
  /** Rows of the matrix. */
  readonly m: number;
  /** Columns of the matrix. */
  readonly k: number;
  /** Rows of a tile. */
  readonly BM: number;
  /** Columns of a tile. */
  readonly BK: number;
  /** Rows computed at once. */
  readonly bm: number;
  /** The lines that the tile's numbers stand in. */
  readonly lines?: Readonly<Record<'BM' | 'BK' | 'bm', number>>;
}

/** A kernel .ini: one section for each matrix shape. */
export interface KernelConfig {
  /** Its path, as it was given. */
  readonly file: string;
  readonly sections: readonly KernelSection[];
}

/** A longer file is no configuration. */
const MAX_BYTES = 1 << 20;
/** No matrix and no tile of one is larger. */
const MAX_SIZE = 2 ** 24;
const MAX_INT = 2 ** 31 - 1;

interface Entry {
  readonly value: string;
  readonly line: number;
}

interface RawSection {
  readonly name: string;
  readonly line: number;
  readonly entries: Map<string, Entry>;
}

/** The keys of bitnet.cpp's kernel_config.ini. */
const BITNET_KEYS = ['m', 'k', 'bm', 'bk', 'bmm'] as const;
/** The keys of T-MAC's kcfg.ini. */
const TMAC_KEYS = [
  'bm',
  'simd_n_in',
  'simd_n_out',
  'kfactor',
  'group_size',
  'lut_scales_size',
  'scales_size',
  'n_tile_num',
] as const;
/** T-MAC's section names: threads, rows times bits, columns, tokens and bits. */
const TMAC_NAME = /^qgemm_lut_t\d+_int8_m(?<rows>\d+)_k(?<k>\d+)_n\d+_b(?<bits>\d+)$/;
/** T-MAC looks four weights up at once, and keeps two indices in a byte. */
const TMAC_WEIGHTS = 4;
const TMAC_INDICES = 2;

/** Reads text line by line; the dialects differ in what a section says, not in how it is written. */
class Reader {
  readonly file: string;

  constructor(file: string) {
    this.file = file;
  }

  fail(line: number, what: string, hint?: string): never {
    throw new BitnetError(`${this.file}:${line}: ${what}`, { hint });
  }

  sections(text: string): RawSection[] {
    const sections: RawSection[] = [];
    const byName = new Map<string, RawSection>();
    text
      .replace(/^\ufeff/, '')
      .split(/\r\n|\n|\r/)
      .forEach((raw, index) => {
        const line = index + 1;
        const content = raw.trim();
        if (content === '' || content.startsWith('#') || content.startsWith(';')) return;
        const header = /^\[([^[\]]+)\]$/.exec(content);
        if (header) {
          const name = header[1].trim();
          const twin = byName.get(name);
          if (twin) this.fail(line, `section [${name}] is there already, in line ${twin.line}`);
          const section = { name, line, entries: new Map<string, Entry>() };
          byName.set(name, section);
          sections.push(section);
          return;
        }
        const entry = /^([A-Za-z_]+)\s*[=:]\s*(.*)$/.exec(content);
        if (!entry) this.fail(line, `'${content.slice(0, 40)}' is neither [section] nor key = value`);
        const current = sections.at(-1);
        if (!current) this.fail(line, `'${content.slice(0, 40)}' stands before the first [section]`);
        // Python's configparser, which writes these files, takes keys for equal whatever their case.
        const key = entry[1].toLowerCase();
        const twin = current.entries.get(key);
        if (twin) this.fail(line, `${key} of [${current.name}] is there already, in line ${twin.line}`);
        current.entries.set(key, { value: entry[2].trim(), line });
      });
    return sections;
  }

  /** Every key of the dialect, each a positive number. */
  numbers<Key extends string>(section: RawSection, keys: readonly Key[], max: number): Record<Key, number> {
    const known: readonly string[] = keys;
    for (const [key, { line }] of section.entries) {
      if (!known.includes(key)) this.fail(line, `unknown key '${key}'`, `the keys of a section are ${keys.join(', ')}`);
    }
    const pairs = keys.map((key) => {
      const entry = section.entries.get(key);
      if (!entry) this.fail(section.line, `[${section.name}] lacks ${key}`, `a section has ${keys.join(', ')}`);
      return [key, this.size(entry.value, key, entry.line, max)];
    });
    return Object.fromEntries(pairs);
  }

  size(text: string, what: string, line: number, max: number): number {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : 0;
    if (value < 1) this.fail(line, `${what} is '${text.slice(0, 40)}', and must be a whole number from 1 on`);
    if (value > max) this.fail(line, `${what} is ${text}, and may be ${max} at most`);
    return value;
  }

  bitnet(section: RawSection): KernelSection {
    const { m, k, bm, bk, bmm } = this.numbers(section, BITNET_KEYS, MAX_SIZE);
    const lineOf = (key: string) => section.entries.get(key)!.line;
    const lines = { BM: lineOf('bm'), BK: lineOf('bk'), bm: lineOf('bmm') };
    return { name: section.name, line: section.line, m, k, BM: bm, BK: bk, bm: bmm, lines };
  }

  /** T-MAC counts rows times bits; its tile of columns is kfactor look-ups of four weights. */
  tmac(section: RawSection, match: Record<string, string>): KernelSection {
    const { name, line } = section;
    if (match.bits !== '2') this.fail(line, `[${name}] is for weights of ${match.bits} bits; ternary ones have 2`);
    const product = this.size(match.rows, 'm', line, 2 * MAX_SIZE);
    const k = this.size(match.k, 'k', line, MAX_SIZE);
    if (product % 2 !== 0) this.fail(line, `[${name}] has m = ${product}, which is rows times 2 bits and must be even`);
    const { bm, kfactor, simd_n_in, n_tile_num } = this.numbers(section, TMAC_KEYS, MAX_INT);
    const lineOf = (key: string) => section.entries.get(key)!.line;
    if (bm > 2 * MAX_SIZE || bm % 2 !== 0) {
      this.fail(lineOf('bm'), `bm is ${bm}, and must be rows times 2 bits: an even number, ${2 * MAX_SIZE} at most`);
    }
    if (kfactor > MAX_SIZE / TMAC_WEIGHTS) this.fail(lineOf('kfactor'), `kfactor is ${kfactor}: no matrix is so wide`);
    if (simd_n_in > MAX_SIZE) this.fail(lineOf('simd_n_in'), `simd_n_in is ${simd_n_in}: no vector is so wide`);
    if (n_tile_num * bm !== product) {
      this.fail(lineOf('n_tile_num'), `n_tile_num is ${n_tile_num}, but m / bm is ${product} / ${bm}`);
    }
    return {
      name,
      line,
      m: product / 2,
      k,
      BM: bm / 2,
      BK: TMAC_WEIGHTS * kfactor,
      bm: (TMAC_INDICES * simd_n_in) / 2,
      lines: { BM: lineOf('bm'), BK: lineOf('kfactor'), bm: lineOf('simd_n_in') },
    };
  }
}

/**
 * Reads a kernel .ini: bitnet.cpp's kernel_config.ini (m, k, bm = BM, bk = BK, bmm = bm) or T-MAC's kcfg.ini, whose
 * section names hold the shape, with m = rows × bits. `file` is its path, for messages.
 *
 * Throws a BitnetError with the line for what is unknown, missing, there twice, no number or too large.
 */
export function parseKernelConfig(text: string, file: string): KernelConfig {
  const reader = new Reader(file);
  if (text.length > MAX_BYTES) throw new BitnetError(`${file} is too long for a kernel configuration`);
  const shapes = new Map<string, KernelSection>();
  for (const raw of reader.sections(text)) {
    const match = TMAC_NAME.exec(raw.name)?.groups;
    const section = match ? reader.tmac(raw, match) : reader.bitnet(raw);
    const shape = `${section.m} × ${section.k}`;
    const twin = shapes.get(shape);
    if (twin) {
      reader.fail(section.line, `[${section.name}] is for ${shape}, as is [${twin.name}] in line ${twin.line}`);
    }
    shapes.set(shape, section);
  }
  if (shapes.size === 0) {
    throw new BitnetError(`${file} has no section`, {
      hint: 'a kernel configuration has one [section] for each shape, with m, k, bm, bk and bmm',
    });
  }
  return { file, sections: [...shapes.values()] };
}

/** Reads a kernel .ini from disk: see `parseKernelConfig`. */
export function readKernelConfig(file: string): Promise<KernelConfig> {
  return withFile(file, async (handle) => {
    const buffer = Buffer.alloc(MAX_BYTES + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    return parseKernelConfig(buffer.toString('utf8', 0, bytesRead), file);
  });
}

/** The section of a shape: rows m, columns k. */
export function sectionFor(config: KernelConfig, m: number, k: number): KernelSection | undefined {
  return config.sections.find((section) => section.m === m && section.k === k);
}

/** A tile, and the shape of projection that it is for. */
type ShapeTile = Omit<KernelSection, 'name' | 'line'>;

/** Sections as formatKernelConfig writes them, one for each shape: of several tiles the first. */
export function numberSections(tiles: Iterable<ShapeTile>): KernelSection[] {
  const sections = new Map<string, KernelSection>();
  for (const { m, k, BM, BK, bm } of tiles) {
    const [name, line] = [`Kernels_${sections.size}`, 7 * sections.size + 1];
    if (!sections.has(`${m} ${k}`)) sections.set(`${m} ${k}`, { name, line, m, k, BM, BK, bm });
  }
  return [...sections.values()];
}

/** Writes sections as bitnet.cpp's kernel_config.ini has them. */
export function formatKernelConfig(sections: readonly KernelSection[]): string {
  return sections
    .map(({ name, m, k, BM, BK, bm }) => `[${name}]\nm = ${m}\nk = ${k}\nbm = ${BM}\nbk = ${BK}\nbmm = ${bm}\n\n`)
    .join('');
}

/** Writes sections to a kernel .ini, which appears when it is whole. Throws a BitnetError where the system refuses. */
export async function writeKernelConfig(file: string, sections: readonly KernelSection[]): Promise<void> {
  if (sections.length === 0) {
    throw new BitnetError(`there is no configuration to write to ${file}: kernel i2 has no tiles of table look-ups`, {
      hint: 'ask for kernel tl1 or tl2',
    });
  }
  await writeWhole(file, (handle) => writeAll(handle, Buffer.from(formatKernelConfig(sections))));
}
