import { BitnetError } from '../../errors.ts';
import type { Gguf, GgufTensor } from '../import/gguf/reader.ts';

/** Alignments that writers use, and none at all. */
const ALIGNMENTS: readonly number[] = [1, 8, 16, 32, 64, 128, 256, 4096];

const alignUp = (at: number, alignment: number): number => Math.ceil(at / alignment) * alignment;

/**
 * Finds out where a file's tensor data begin when its alignment does not say: offsets count from there, and the file
 * ends with the last tensor or its padding. Returns the file with its tensors in their places.
 * Throws a BitnetError where no place or more than one is possible.
 */
export function locateData(gguf: Gguf): Gguf {
  const { headerBytes, fileBytes, tensors, metadata, file } = gguf;
  const ends = tensors.map((tensor) => tensor.offset - gguf.dataStart + sizeOf(tensor, file));
  const length = Math.max(0, ...ends);
  const declared = metadata.get('general.alignment')?.value;
  const alignments = typeof declared === 'number' && declared >= 1 ? [declared, ...ALIGNMENTS] : ALIGNMENTS;
  const starts = alignments
    .filter((alignment) => {
      const start = alignUp(headerBytes, alignment);
      return start + length === fileBytes || start + alignUp(length, alignment) === fileBytes;
    })
    .map((alignment) => alignUp(headerBytes, alignment));
  const [start, other] = new Set(starts);
  if (start === undefined) {
    throw new BitnetError(`${file}: the tensors do not end where the file does, wherever they begin`, {
      hint: 'the file is cut off, or bytes were lost: download it again',
    });
  }
  if (other !== undefined) {
    throw new BitnetError(`${file}: the tensors could begin at byte ${start} as well as at ${other}`, {
      hint: 'where they do cannot be known: convert the model again from its source',
    });
  }
  const shift = start - gguf.dataStart;
  return {
    ...gguf,
    dataStart: start,
    tensors: tensors.map((tensor) => ({ ...tensor, offset: tensor.offset + shift })),
  };
}

function sizeOf({ name, typeName, bytes }: GgufTensor, file: string): number {
  if (bytes !== undefined) return bytes;
  throw new BitnetError(`${file}: the size of tensor ${name}, which is ${typeName}, cannot be known`);
}
