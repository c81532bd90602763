// Runs a WASI program: node wasi.mjs PROGRAM ARGUMENTS…
import { readFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { WASI } from 'node:wasi';

const [program, ...args] = process.argv.slice(2);
const bytes = readFileSync(program);
// Node 20 has relaxed SIMD behind a switch.
if (!WebAssembly.validate(bytes)) setFlagsFromString('--experimental-wasm-relaxed-simd');
const wasi = new WASI({ version: 'preview1', args: [program, ...args], returnOnExit: true });
const { instance } = await WebAssembly.instantiate(bytes, wasi.getImportObject());
process.exitCode = wasi.start(instance);
