import { isMatrix, isTernary } from '../import/encodings/index.ts';
import { CHUNK_VALUES, ModelSource } from '../import/source.ts';
import type { Encoding, ModelIR, TensorIR } from '../ir/model.ts';
import { Contents, decoded, valueEncoding } from './contents.ts';
import type { Findings } from './findings.ts';

/** What a tensor was found to hold. */
export interface TensorCheck {
  readonly name: string;
  readonly shape: readonly number[];
  readonly encoding: Encoding;
  /** Which file it is in, and at what byte. */
  readonly file: string;
  readonly offset: number;
  readonly bytes: number;
  /** Of ternary weights: the scale, and the share of weights that are zero. */
  readonly scale?: number;
  readonly zeros?: number;
}

/**
 * Reads all data of a model: every code of ternary weights must be one of three, and every scale and every other value
 * a finite number. What is not goes to `findings`.
 */
export async function checkData(
  ir: ModelIR,
  tensors: readonly TensorIR[],
  findings: Findings,
  onTensor: (tensor: TensorIR) => void,
): Promise<TensorCheck[]> {
  await using source = await ModelSource.open(ir);
  const contents = new Contents(source);
  const checks: TensorCheck[] = [];
  for (const tensor of tensors) {
    const { name, shape, encoding, offset, bytes } = tensor;
    const file = ir.source.files[tensor.file].path;
    const check = { name, shape, encoding, file, offset, bytes };
    const found = await findings.of(
      async () => {
        if (!isTernary(encoding)) await checkFloats(contents, tensor, file, findings);
        return isMatrix(tensor) ? checkTernary(contents, tensor) : undefined;
      },
      { tensor: name, file, offset },
    );
    checks.push({ ...check, ...found });
    onTensor(tensor);
  }
  return checks;
}

async function checkTernary(contents: Contents, from: TensorIR): Promise<{ scale: number; zeros: number }> {
  const { codes, scale } = await contents.ternary({ from, shape: from.shape, order: undefined });
  let zeros = 0;
  for (let i = 0; i < codes.length; i++) if (codes[i] === 1) zeros++;
  return { scale, zeros: zeros / codes.length };
}

async function checkFloats(contents: Contents, from: TensorIR, file: string, findings: Findings): Promise<void> {
  const encoding = valueEncoding(from);
  const values = new Float32Array(CHUNK_VALUES);
  let [at, first, bad, example] = [0, -1, 0, 0];
  for await (const chunk of contents.floats({ from, order: undefined })) {
    const some = decoded(encoding, chunk, values);
    for (let i = 0; i < some.length; i++) {
      const value = some[i];
      if (value - value === 0) continue;
      if (bad++ > 0) continue;
      first = at + i;
      example = value;
    }
    at += some.length;
  }
  if (bad === 0) return;
  const others = bad === 1 ? '' : `, as are ${bad - 1} others, not finite numbers`;
  findings.add({
    problem: `tensor ${from.name}: value ${first} is ${example}${others}`,
    tensor: from.name,
    file,
    offset: from.offset,
  });
}
