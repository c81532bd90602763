#!/usr/bin/env node
import { Interrupted } from './io.ts';
import { EXIT, runCli } from './program.ts';

const { stdin, stdout, stderr } = process;
const interrupt = new AbortController();

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
    interrupt.abort(new Interrupted('interrupted'));
  });
}
// A reader that went away is met where the next piece is written.
for (const stream of [stdout, stderr]) stream.on('error', () => {});

process.exitCode = await runCli(process.argv.slice(2), { stdin, stdout, stderr, signal: interrupt.signal });
