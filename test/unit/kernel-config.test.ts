import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  formatKernelConfig,
  parseKernelConfig,
  readKernelConfig,
  sectionFor,
  writeKernelConfig,
} from '../../compiler/kernels/config.ts';
import { packageRoot } from '../../package-root.ts';
import { refusal } from '../support/refusal.ts';
import { temporaryFolder } from '../support/temporary.ts';

const PRESETS = join(packageRoot(), 'test', 'fixtures', 'kernel-configs');

const configs = suite('kernel configurations');
const folder = temporaryFolder('kernel-config');

/** One section of bitnet.cpp's dialect, with some of its lines replaced. */
function text(lines: Partial<Record<'name' | 'm' | 'k' | 'bm' | 'bk' | 'bmm', string>> = {}): string {
  const whole = { name: '[Kernels_0]', m: 'm = 64', k: 'k = 128', bm: 'bm = 32', bk: 'bk = 64', bmm: 'bmm = 16' };
  return `${Object.values({ ...whole, ...lines }).join('\n')}\n`;
}

configs("bitnet.cpp's presets are read as its codegen writes them, and written back the same", () => {
  const presets = readdirSync(PRESETS);
  assert.is(presets.length, 6);
  for (const preset of presets) {
    const source = readFileSync(join(PRESETS, preset), 'utf8');
    const { sections } = parseKernelConfig(source, preset);
    assert.is(sections.length, source.match(/\[/g)!.length);
    assert.is(formatKernelConfig(sections).trimEnd(), source.trimEnd());
  }
  const large = parseKernelConfig(readFileSync(join(PRESETS, 'bitnet_b1_58-large.tl2.ini'), 'utf8'), 'large.ini');
  assert.equal(sectionFor(large, 4096, 1536), {
    name: 'Kernels_2',
    line: 15,
    m: 4096,
    k: 1536,
    BM: 256,
    BK: 96,
    bm: 64,
    lines: { BM: 18, BK: 19, bm: 20 },
  });
  assert.is(sectionFor(large, 1536, 4097), undefined);
});

configs("T-MAC's sections give rows times bits, and columns as look-ups of four weights", () => {
  const source = `[qgemm_lut_t1_int8_m6400_k8640_n1_b2]
bm = 320
simd_n_in = 16
simd_n_out = 8
kfactor = 16
group_size = 128
lut_scales_size = 135
scales_size = 1
n_tile_num = 20
`;
  const [section, ...more] = parseKernelConfig(source, 'kcfg.ini').sections;
  assert.is(more.length, 0);
  const { m, k, BM, BK, bm } = section;
  assert.equal({ m, k, BM, BK, bm }, { m: 3200, k: 8640, BM: 160, BK: 64, bm: 16 });
  assert.equal(section.lines, { BM: 2, BK: 5, bm: 3 });
});

configs(
  'comments, blank lines, either separator, any case and line ending, and a byte order mark are no matter',
  () => {
    const source = '\ufeff# one\r\n; two\r\n[ Kernels_0 ]\r\n\r\nM: 64\r\n  K =128\r\nBM=32\r\nBK = 64\r\nbmm\t=\t16';
    const [section] = parseKernelConfig(source, 'x.ini').sections;
    assert.equal(
      [section.name, section.m, section.k, section.BM, section.BK, section.bm],
      ['Kernels_0', 64, 128, 32, 64, 16],
    );
  },
);

const TMAC = '[qgemm_lut_t1_int8_m128_k64_n1_b2]\nbm = 64\nsimd_n_in = 16\nsimd_n_out = 8\nkfactor = 16\n';
const REST = 'group_size = 32\nlut_scales_size = 1\nscales_size = 1\n';

const WRONG: readonly (readonly [what: string, source: string, line: number | null, message: RegExp])[] = [
  ['nothing', '', null, /has no section/],
  ['only comments', '# nothing\n', null, /has no section/],
  ['an unknown key', text({ bmm: 'bmm = 16\nfoo = 1' }), 7, /unknown key 'foo'/],
  ['a key of the other dialect', text({ bmm: 'bmm = 16\nkfactor = 1' }), 7, /unknown key 'kfactor'/],
  ['a missing key', text({ bk: '' }), 1, /\[Kernels_0\] lacks bk/],
  ['a key twice', text({ bk: 'bk = 64\nBK = 96' }), 6, /bk of \[Kernels_0\] is there already, in line 5/],
  ['a word', text({ bk: 'bk = many' }), 5, /bk is 'many', and must be a whole number/],
  ['a fraction', text({ bk: 'bk = 64.5' }), 5, /whole number/],
  ['a negative number', text({ m: 'm = -64' }), 2, /whole number/],
  ['zero', text({ m: 'm = 0' }), 2, /whole number/],
  ['hexadecimal', text({ m: 'm = 0x40' }), 2, /whole number/],
  ['nothing behind the sign', text({ m: 'm =' }), 2, /whole number/],
  ['a comment behind a number', text({ m: 'm = 64 ; rows' }), 2, /whole number/],
  ['a hostile size', text({ m: 'm = 99999999999' }), 2, /may be 16777216 at most/],
  ['a longer one', text({ m: `m = ${'9'.repeat(400)}` }), 2, /whole number/],
  [
    'a shape twice',
    text() + text({ name: '[Kernels_1]' }),
    7,
    /\[Kernels_1\] is for 64 × 128, as is \[Kernels_0\] in line 1/,
  ],
  ['a section twice', text() + text({ m: 'm = 32' }), 7, /section \[Kernels_0\] is there already, in line 1/],
  ['a key before all sections', `m = 1\n${text()}`, 1, /before the first/],
  ['something else', text({ k: 'hello' }), 3, /'hello' is neither/],
  ['an open bracket', text({ name: '[Kernels_0' }), 1, /neither/],
  ['other bits', TMAC.replace('_b2', '_b4'), 1, /weights of 4 bits/],
  ['odd rows times bits', TMAC.replace('m128', 'm129'), 1, /must be even/],
  [
    'tiles that do not make up the rows',
    `${TMAC}${REST}n_tile_num = 3\n`,
    9,
    /n_tile_num is 3, but m \/ bm is 128 \/ 64/,
  ],
  ['a hostile tile', `${TMAC.replace('kfactor = 16', 'kfactor = 2000000000')}${REST}n_tile_num = 2\n`, 5, /so wide/],
  ["a missing key of T-MAC's", `${TMAC}${REST}`, 1, /lacks n_tile_num/],
];

for (const [what, source, line, message] of WRONG) {
  configs(`${what} is refused${line === null ? '' : `, with the line`}`, async () => {
    const error = await refusal(() => parseKernelConfig(source, 'x.ini'));
    assert.match(error.message, message);
    assert.ok(error.message.startsWith(line === null ? 'x.ini' : `x.ini:${line}: `), error.message);
  });
}

configs('a file that is missing, a folder or endless is refused', async () => {
  assert.match((await refusal(() => readKernelConfig(join(folder, 'none.ini')))).message, /cannot read .*none\.ini/);
  assert.match((await refusal(() => readKernelConfig(folder))).message, /is not a file/);
  const long = join(folder, 'long.ini');
  writeFileSync(long, '#'.repeat((1 << 20) + 1));
  assert.match((await refusal(() => readKernelConfig(long))).message, /too long/);
});

configs('what is written is read back, and a configuration without sections is not written', async () => {
  const { sections } = parseKernelConfig(text(), 'x.ini');
  const file = join(folder, 'written.ini');
  await writeKernelConfig(file, sections);
  assert.equal((await readKernelConfig(file)).sections, sections);
  assert.match((await refusal(() => writeKernelConfig(join(folder, 'empty.ini'), []))).message, /no configuration/);
  const place = join(folder, 'a-folder.ini');
  mkdirSync(place);
  await refusal(() => writeKernelConfig(place, sections));
  assert.equal(
    readdirSync(folder).filter((name) => name.includes('partial')),
    [],
  );
});

configs.run();
