import * as z from 'zod';
import { SECTIONS, type Section, type TokenizerTables } from './tables.ts';
import { textOf, utf8 } from './utf8.ts';

/**
 * An artifact's tokenizer, in a form that is used as it was read: the length of a header in four bytes, the header in
 * JSON, then the SECTIONS, each as many items as the header says; before each of them zeros up to a multiple of eight
 * bytes. Numbers are little-endian, as every machine that a target exists for keeps them. That the file is whole is for
 * the manifest to say, by its sha256.
 */
const NAMES = Object.keys(SECTIONS) as Section[];

const id = z.number().int().nullable();
const factors = z.strictObject({ first: z.number().int(), second: z.number().int() });
const count = z.number().int().nonnegative();
const header = z.strictObject({
  scalars: z.strictObject({
    model: z.enum(['gpt2', 'llama']),
    pre: z.string(),
    bos: id,
    eos: id,
    eot: id,
    unknown: id,
    padding: id,
    addBos: z.boolean(),
    addEos: z.boolean(),
    addSpacePrefix: z.boolean(),
    chatTemplate: z.string().nullable(),
  }),
  longest: count,
  textFactors: factors,
  mergeFactors: factors,
  items: z.strictObject(Object.fromEntries(NAMES.map((name) => [name, count])) as Record<Section, typeof count>),
});

/** The bytes of a tokenizer's file. */
export function packTokenizer(tables: TokenizerTables): Uint8Array<ArrayBuffer> {
  const { scalars, longest, textFactors, mergeFactors } = tables;
  const items = Object.fromEntries(NAMES.map((name) => [name, tables[name].length])) as Record<Section, number>;
  const text = utf8(
    JSON.stringify({ scalars, longest, textFactors, mergeFactors, items } satisfies z.infer<typeof header>),
  );
  const { places, bytes } = layOut(text.length, items);
  const file = new Uint8Array(bytes);
  new DataView(file.buffer).setUint32(0, text.length, true);
  file.set(text, 4);
  for (const { name, offset } of places) {
    const { buffer, byteOffset, byteLength } = tables[name];
    file.set(new Uint8Array(buffer, byteOffset, byteLength), offset);
  }
  return file;
}

/** Views what packTokenizer wrote, from the start of a buffer. Throws an Error where that is something else. */
export function unpackTokenizer(file: Uint8Array<ArrayBuffer>): TokenizerTables {
  const { buffer, byteOffset, byteLength } = file;
  if (byteOffset % 8 !== 0) throw new Error('its bytes do not lie at a multiple of eight');
  const length = byteLength >= 4 ? new DataView(buffer, byteOffset).getUint32(0, true) : byteLength;
  if (length > byteLength - 4) throw new Error(`it has ${byteLength} bytes, less than its header`);
  const { items, ...rest } = header.parse(JSON.parse(textOf(new Uint8Array(buffer, byteOffset + 4, length))));
  const { places, bytes } = layOut(length, items);
  if (bytes !== byteLength) throw new Error(`it has ${byteLength} bytes, its header says ${bytes}`);
  const lists = places.map(({ name, offset }) => [name, new SECTIONS[name](buffer, byteOffset + offset, items[name])]);
  return { ...rest, ...Object.fromEntries(lists) };
}

/** Where each section begins, and the bytes of the whole file. */
function layOut(header: number, items: Readonly<Record<Section, number>>) {
  let bytes = 4 + header;
  const places = NAMES.map((name) => {
    const offset = Math.ceil(bytes / 8) * 8;
    bytes = offset + items[name] * SECTIONS[name].BYTES_PER_ELEMENT;
    return { name, offset };
  });
  return { places, bytes };
}
