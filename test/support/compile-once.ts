// Compiles a model in a process of its own: compile-once.ts MODEL OUT TARGET. Prints one JSON line.
import { compile } from '../../compiler/index.ts';
import { BitnetError } from '../../errors.ts';

const [model, out, target] = process.argv.slice(2);
try {
  const { artifact, cached } = await compile(model, { out, target });
  console.log(JSON.stringify({ artifact, cached }));
} catch (error) {
  if (!(error instanceof BitnetError)) throw error;
  console.log(JSON.stringify({ error: error.message, hint: error.hint }));
  process.exitCode = 1;
}
