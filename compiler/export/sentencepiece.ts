import type { TokenizerData } from '../../artifact/tokenizer/data.ts';

const VARINT = 0;
const BYTES = 2;
const FIXED32 = 5;
const BPE = 2;

/**
 * A tokenizer with scores as SentencePiece's tokenizer.model: the message ModelProto of sentencepiece_model.proto, with
 * text taken as it is and bytes for what is no token. `types` are the tokens' types, which are the pieces' too.
 */
export function sentencePieceModel(data: TokenizerData, types: readonly number[]): Uint8Array {
  const parts = data.tokens.map((token, id) =>
    bytes(1, [bytes(1, [Buffer.from(token)]), float(2, data.scores[id]!), integer(3, types[id]!)]),
  );
  const trainer = [
    integer(3, BPE),
    integer(4, data.tokens.length),
    integer(35, 1), // byte_fallback
    integer(40, data.unknown ?? -1),
    integer(41, data.bos ?? -1),
    integer(42, data.eos ?? -1),
    integer(43, data.padding ?? -1),
  ];
  const normaliser = [
    bytes(1, [Buffer.from('identity')]),
    integer(3, data.addSpacePrefix ? 1 : 0),
    integer(4, 0), // remove_extra_whitespaces
    integer(5, 1), // escape_whitespaces
  ];
  return Buffer.concat([...parts, bytes(2, trainer), bytes(3, normaliser)]);
}

function integer(field: number, value: number): Buffer {
  return Buffer.concat([varint((field << 3) | VARINT), varint(value)]);
}

function float(field: number, value: number): Buffer {
  const number = Buffer.alloc(4);
  number.writeFloatLE(value);
  return Buffer.concat([varint((field << 3) | FIXED32), number]);
}

function bytes(field: number, contents: readonly Uint8Array[]): Buffer {
  const length = contents.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([varint((field << 3) | BYTES), varint(length), ...contents]);
}

/** Negative numbers take ten bytes, as 64-bit two's complement. */
function varint(value: number): Buffer {
  const groups: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    groups.push(Number(rest & 127n) | (rest > 127n ? 128 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(groups);
}
