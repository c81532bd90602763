import type { TokenizerData } from '../../artifact/tokenizer/data.ts';
import { Keys } from '../import/gguf/keys.ts';
import { modelOf } from '../import/gguf/model.ts';
import { type Gguf, type GgufFault, readGguf } from '../import/gguf/reader.ts';
import { importTokenizer } from '../import/gguf/tokenizer.ts';
import type { ImportOptions } from '../import/options.ts';
import type { ModelIR } from '../ir/model.ts';
import type { Findings } from './findings.ts';

/** What of a GGUF file could be read in spite of what is wrong with it. */
export interface CheckedGguf {
  readonly ir: ModelIR;
  /** Names of tensors whose data are not where they should be. */
  readonly misplaced: ReadonlySet<string>;
}

/** Checks all of a GGUF file that is not tensor data: places, sizes, keys, types, tokenizer. */
export async function checkGguf(
  path: string,
  options: ImportOptions,
  findings: Findings,
): Promise<CheckedGguf | undefined> {
  const faults: GgufFault[] = [];
  const gguf = await findings.of(() => readGguf(path, faults), { file: path });
  if (gguf === undefined) return undefined;
  for (const fault of faults) findings.add({ ...fault, file: path });
  const ir = await findings.of(() => modelOf(gguf, options), { file: path });
  const tokenizer = ir?.tokenizer ?? (await tokenizerOf(gguf, findings));
  if (tokenizer !== undefined) checkMerges(tokenizer, path, findings);
  if (ir === undefined) return undefined;
  return { ir, misplaced: new Set(faults.flatMap(({ tensor }) => tensor ?? [])) };
}

/** The tokenizer of a file that is no model for another reason; what is wrong with it is to be known too. */
async function tokenizerOf(gguf: Gguf, findings: Findings): Promise<TokenizerData | undefined> {
  const rows = gguf.tensors.find(({ name }) => name === 'token_embd.weight')?.shape[0] ?? Number.POSITIVE_INFINITY;
  const known = new Set(findings.list.map(({ problem }) => problem));
  const count = findings.list.length;
  const tokenizer = await findings.of(() => importTokenizer(new Keys(gguf), rows), { file: gguf.file });
  if (findings.list.length > count && known.has(findings.list[count].problem)) findings.list.length = count;
  return tokenizer;
}

/** A merge makes a token out of two. */
function checkMerges({ tokens, merges }: TokenizerData, file: string, findings: Findings): void {
  const known = new Set(tokens);
  for (const [index, merge] of merges.entries()) {
    const space = merge.indexOf(' ', 1);
    const parts = [merge.slice(0, space), merge.slice(space + 1)];
    const unknown = [...parts, parts.join('')].find((token) => !known.has(token));
    if (unknown === undefined) continue;
    findings.add({
      problem: `merge ${index} of the tokenizer needs the token ${JSON.stringify(unknown)}, which there is not`,
      file,
    });
    return;
  }
}
