import type { Command } from 'commander';
import type { Gguf, MetadataValue, Scalar } from '../../compiler/import/gguf/reader.ts';
import type { Safetensors } from '../../compiler/import/safetensors/reader.ts';
import { bytes, printable, table } from '../format.ts';
import { type Io, write, writeJson } from '../io.ts';

const SHOWN_ELEMENTS = 4;
const SHOWN_CHARACTERS = 72;

const EXAMPLES = `
Examples:
  bitnet inspect model.gguf
  bitnet inspect hugging-face-folder
  bitnet inspect model.gguf --json | jq .tensors`;

export function inspectCommand(program: Command, io: Io): void {
  program
    .command('inspect')
    .description('show what a model file holds: metadata and tensors')
    .argument('<file>', 'any GGUF file of version 2 or 3, SafeTensors file, or Hugging Face folder')
    .option('--json', 'print everything as JSON, arrays in full')
    .addHelpText('after', EXAMPLES)
    .action(async (file: string, { json }: { readonly json?: boolean }) => {
      const { formOf, readFolder, readGguf, readSafetensors, resolveModel } = await import('../../compiler/index.ts');
      const path = await resolveModel(file);
      const form = await formOf(path);
      if (form === 'gguf') {
        const gguf = await readGguf(path);
        await (json ? writeJson(io, asJson(gguf)) : write(io, asTables(gguf)));
      } else {
        const shards = form === 'folder' ? (await readFolder(path)).shards : [await readSafetensors(path)];
        const found = { format: 'safetensors', files: shards };
        await (json ? writeJson(io, found) : write(io, shards.map(asTable).join('\n')));
      }
    });
}

function asTable({ file, fileBytes, metadata, tensors }: Safetensors): string {
  const heading = `SafeTensors, ${bytes(fileBytes)}: ${printable(file)}\n\n`;
  const keys = Object.entries(metadata).map(([key, value]) => [printable(key), one(value)]);
  const rows = tensors.map(({ name, dtype, shape, offset, bytes }) => [
    printable(name),
    shape.join(' × '),
    dtype,
    String(offset),
    String(bytes),
  ]);
  const metadataTable = keys.length > 0 ? `${table(['key', 'value'], keys)}\n` : '';
  return `${heading}${metadataTable}${table(['tensor', 'shape', 'type', 'offset', 'bytes'], rows)}`;
}

/** Integers that a JSON number cannot hold become strings. */
function asJson({ version, byteOrder, fileBytes, metadata, tensors }: Gguf) {
  const plain = (value: Scalar) => (typeof value === 'bigint' ? value.toString() : value);
  const values = [...metadata].map(([key, entry]) => [
    key,
    entry.type === 'array' ? entry.value.map(plain) : plain(entry.value),
  ]);
  return { format: 'gguf', version, byteOrder, fileBytes, metadata: Object.fromEntries(values), tensors };
}

function asTables({ version, byteOrder, fileBytes, metadata, tensors }: Gguf): string {
  const heading = `GGUF version ${version}, ${byteOrder}-endian, ${bytes(fileBytes)}\n\n`;
  const keys = [...metadata].map(([key, entry]) => [key, typeName(entry), show(entry)]);
  const rows = tensors.map(({ name, shape, typeName, offset, bytes }) => [
    name,
    shape.join(' × '),
    typeName,
    String(offset),
    bytes === undefined ? 'unknown' : String(bytes),
  ]);
  return `${heading}${table(['key', 'type', 'value'], keys)}\n${table(['tensor', 'shape', 'type', 'offset', 'bytes'], rows)}`;
}

const typeName = (entry: MetadataValue): string =>
  entry.type === 'array' ? `${entry.elementType}[${entry.value.length}]` : entry.type;

function show(entry: MetadataValue): string {
  if (entry.type !== 'array') return one(entry.value);
  const first = entry.value.slice(0, SHOWN_ELEMENTS).map(one).join(', ');
  return entry.value.length > SHOWN_ELEMENTS ? `${first}, …` : first;
}

function one(value: Scalar): string {
  if (typeof value !== 'string') return String(value);
  return printable(value.length > SHOWN_CHARACTERS ? `${value.slice(0, SHOWN_CHARACTERS)}…` : value);
}
