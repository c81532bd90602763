import { BitnetError } from '../../../errors.ts';
import type { Encoding, Hyper, TableTile, TensorIR } from '../../ir/model.ts';
import { layerLinears } from '../../ir/verify.ts';
import { sectionFor } from '../../kernels/config.ts';
import { encodedBytes } from '../encodings/index.ts';
import { I2S_LAYOUTS, type ImportOptions } from '../options.ts';
import { detectI2sLayout } from './i2s-layout.ts';
import type { Gguf, GgufTensor } from './reader.ts';
import { ROPE_FACTORS } from './rope.ts';
import { ENCODING_NUMBERS } from './types.ts';

const ENCODINGS = Object.keys(ENCODING_NUMBERS) as Encoding[];

/** Types in which matrices may be masters of ternary weights. */
const PLAIN: readonly Encoding[] = ['f32', 'f16', 'bf16'];

/**
 * The tensors of a file, but for the rope factors, with what the file does not say of them: the order of I2_S weights,
 * the tiles of TL1 and TL2 from the kernel .ini, and which real numbers are masters of ternary weights.
 * Throws a BitnetError for a type that we do not read or cannot tell, and where the .ini does not fit.
 */
export async function importTensors(gguf: Gguf, hyper: Hyper, options: ImportOptions): Promise<TensorIR[]> {
  const layout = options.i2sLayout ?? (await detectI2sLayout(gguf));
  const linears = new Set(layerLinears({ hyper }).map(({ name }) => `${name}.weight`));
  return gguf.tensors
    .filter(({ name }) => name !== ROPE_FACTORS)
    .map((tensor) => {
      const { name, shape, offset } = tensor;
      const { encoding, bytes } = known(gguf, tensor);
      const place = { name, shape, file: 0, offset, bytes };
      if (encoding === 'i2_s') return { ...place, encoding: I2S_LAYOUTS[layout] };
      if (encoding === 'tl1' || encoding === 'tl2') {
        return { ...place, encoding, tile: tileOf(gguf, tensor, encoding, options) };
      }
      if (PLAIN.includes(encoding) && linears.has(name.replace(/^blk\.\d+\./, ''))) {
        return { ...place, encoding, quantise: options.force ? 'any' : 'near' };
      }
      return { ...place, encoding };
    });
}

function known(gguf: Gguf, { name, typeName, doubt, bytes }: GgufTensor): { encoding: Encoding; bytes: number } {
  if (doubt !== undefined) {
    throw new BitnetError(`${gguf.file}: the tensor ${name} may be ${typeName}: ${doubt}`, {
      hint: 'The engines that write these types gave them the same number. Convert the model again, to a type of one meaning.',
    });
  }
  const encoding = ENCODINGS.find((candidate) => candidate.toUpperCase() === typeName);
  if (encoding !== undefined && bytes !== undefined) return { encoding, bytes };
  throw new BitnetError(`${gguf.file}: the tensor ${name} has the type ${typeName}, which is not supported`, {
    hint: `Supported are ${ENCODINGS.join(', ').toUpperCase()}.`,
  });
}

/** The tile that the .ini of the conversion gives for a tensor's shape. */
function tileOf(gguf: Gguf, tensor: GgufTensor, encoding: 'tl1' | 'tl2', { config }: ImportOptions): TableTile {
  const { name, shape, typeName, bytes } = tensor;
  const [rows, cols] = [shape.at(-2) ?? 1, shape.at(-1)!];
  const fault = (problem: string, hint: string) =>
    new BitnetError(`${gguf.file}: the ${typeName} tensor ${name} of ${rows} × ${cols} weights ${problem}`, { hint });
  if (config === undefined) {
    throw fault(
      'is laid out by the kernel .ini that it was converted with, and the file does not tell that',
      'Give the .ini: --config FILE.ini. bitnet.cpp has it in include/kernel_config.ini after a conversion, and for its own models in preset_kernels.',
    );
  }
  const section = sectionFor(config, rows, cols);
  if (section === undefined) {
    throw fault(
      `has no section in ${config.file}`,
      `The .ini of the conversion has one with m = ${rows} and k = ${cols}.`,
    );
  }
  const tile = { BM: section.BM, BK: section.BK, bm: section.bm };
  try {
    if (encodedBytes(encoding, shape, tile) === bytes) return tile;
  } catch (error) {
    if (!(error instanceof BitnetError)) throw error;
    throw fault(
      `does not fit [${section.name}] of ${config.file}: ${error.message}`,
      'Give the .ini of the conversion.',
    );
  }
  throw fault(
    `does not take the bytes that [${section.name}] of ${config.file} gives it`,
    'Give the .ini of the conversion.',
  );
}
