import { BitnetError } from '../../../errors.ts';
import { saidOf } from './said.ts';

const BLOCK = 512;
/** Far more than an artifact has: whoever sends more means no good. */
const MOST_FILES = 10_000;

export const TAR_HINT =
  'A model in one file is a tar archive of its folder: tar --format=ustar -cf model.tar -C FOLDER .';

/** How a model becomes one that browsers run. */
export const COMPILE = 'Compile it: bitnet compile MODEL --target webgpu,wasm-simd128,webgl --web DIR';

/** What else people have models in, by how it begins. */
const OTHERS = [
  { magic: 'GGUF', what: 'a model that is not compiled', hint: `${COMPILE}, and take DIR/model.` },
  { magic: '\x1f\x8b', what: 'compressed', hint: 'Decompress it: gzip -d FILE.' },
  { magic: 'PK\x03\x04', what: 'a zip archive', hint: TAR_HINT },
] as const;

/**
 * The files of a tar archive by their paths, as POSIX.1-1988 (ustar) has it: a block with name, size and type, then the content
 * in whole blocks. Nothing is copied.
 * @throws BitnetError where the bytes are no such archive
 */
export async function filesInTar(archive: Blob): Promise<ReadonlyMap<string, Blob>> {
  const files = new Map<string, Blob>();
  for (let at = 0; at + BLOCK <= archive.size && files.size < MOST_FILES; ) {
    const header = await bytesOf(archive.slice(at, at + BLOCK));
    // Two blocks of zeros are the end.
    if (header[0] === 0) return files;
    const field = (from: number, length: number) => textIn(header.subarray(from, from + length));
    const size = Number.parseInt(field(124, 12).trim(), 8);
    const content = at + BLOCK;
    if (field(257, 5) !== 'ustar' || !(size >= 0 && content + size <= archive.size)) break;
    const [prefix, name] = [field(345, 155), field(0, 100)];
    const path = (prefix ? `${prefix}/${name}` : name).replace(/^\.\//, '');
    if (header[156] === 0 || header[156] === 0x30) files.set(path, archive.slice(content, content + size));
    at = content + Math.ceil(size / BLOCK) * BLOCK;
  }
  const begin = String.fromCharCode(...(await bytesOf(archive.slice(0, 4))));
  const other = OTHERS.find(({ magic }) => begin.startsWith(magic));
  if (other) throw new BitnetError(`the file is ${other.what}`, { hint: other.hint });
  throw new BitnetError('the file is no tar archive, or it was cut short', { hint: TAR_HINT });
}

/** What a file holds. @throws BitnetError where the browser cannot read it */
export async function bytesOf(file: Blob): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (cause) {
    throw new BitnetError(`the file cannot be read: ${saidOf(cause)}`, {
      hint: 'Is it a folder, or has it been moved or changed since it was chosen? Choose it once more.',
      cause,
    });
  }
}

function textIn(bytes: Uint8Array<ArrayBuffer>): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
