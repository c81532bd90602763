import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fromCpuinfo, fromSysctl, probeMachine } from '../../artifact/machine.ts';

const X86 = `processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 9R14
flags\t\t: fpu sse2 fma avx2 f16c avx512f avx512_vnni
bugs\t\t: sysret_ss_attrs

processor\t: 1
model name\t: AMD EPYC 9R14
flags\t\t: fpu sse2
`;

const ARM = `processor\t: 0
BogoMIPS\t: 243.75
Features\t: fp asimd evtstrm aes asimdhp asimddp
CPU implementer\t: 0x41
CPU part\t: 0xd0c
`;

const MAC = `machdep.cpu.brand_string: Apple M1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 0
`;

const INTEL_MAC = `machdep.cpu.brand_string: Intel(R) Core(TM) i7
hw.optional.avx2_0: 1
hw.optional.avx512f: 0
`;

const sorted = ({ features }: { features: ReadonlySet<string> }) => [...features].sort();

test('Linux on x86: the first CPU counts', () => {
  assert.equal(sorted(fromCpuinfo(X86)), ['avx2', 'avx512_vnni', 'avx512f', 'f16c', 'fma', 'fpu', 'sse2']);
  assert.is(fromCpuinfo(X86).cpu, 'AMD EPYC 9R14');
});

test('Linux on Arm', () => {
  assert.equal(sorted(fromCpuinfo(ARM)), ['aes', 'asimd', 'asimddp', 'asimdhp', 'evtstrm', 'fp']);
  assert.is(fromCpuinfo(ARM).cpu, '0xd0c');
});

test('macOS: only switches that are on', () => {
  assert.equal(sorted(fromSysctl(MAC)), ['asimd', 'asimddp']);
  assert.is(fromSysctl(MAC).cpu, 'Apple M1');
  assert.equal(sorted(fromSysctl(INTEL_MAC)), ['avx2', 'f16c', 'fma']);
});

test('nothing known is no feature, and no error', () => {
  for (const machine of [fromCpuinfo(''), fromSysctl('')]) {
    assert.is(machine.features.size, 0);
    assert.is(machine.cpu, 'unknown');
  }
});

test('this machine can be probed', () => {
  const { arch, cpu } = probeMachine();
  assert.ok(arch.length > 0 && cpu.length > 0);
});

test.run();
