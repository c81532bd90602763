import type { FileHandle } from 'node:fs/promises';
import { BitnetError } from '../../../errors.ts';

const WINDOW = 1 << 18;

/**
 * A bound on all that comes before the tensor data. The largest vocabularies in use take some 20 MB; a header beyond
 * this is not one, and reading it would only spend memory.
 */
export const MAX_HEADER_BYTES = 32 << 20;

/**
 * Reads a file from front to back through a window, and refuses to look beyond the file's end.
 * Ask for bytes with `need` before reading them; everything else is synchronous.
 */
export class Cursor {
  readonly file: string;
  readonly fileBytes: number;
  littleEndian = true;
  /** What is being read, for errors. */
  reading = 'the file header';
  readonly #handle: FileHandle;
  #buffer: Buffer<ArrayBuffer> = Buffer.from(new ArrayBuffer(0));
  #view = new DataView(new ArrayBuffer(0));
  /** Offset in the file of the window's first byte. */
  #base = 0;
  #at = 0;

  constructor(handle: FileHandle, file: string, fileBytes: number) {
    this.#handle = handle;
    this.file = file;
    this.fileBytes = fileBytes;
  }

  /** Offset in the file of the next byte. */
  get offset(): number {
    return this.#base + this.#at;
  }

  get remaining(): number {
    return this.fileBytes - this.offset;
  }

  /** The error for what stands at `offset`. */
  fault(problem: string, offset: number = this.offset): BitnetError {
    return new BitnetError(
      `${this.file}: ${problem} (at byte ${offset} of ${this.fileBytes}, reading ${this.reading})`,
      {
        hint: 'The file is probably truncated or corrupt: download it again, and compare its sha256 with the published one.',
      },
    );
  }

  /** Whether `bytes` more are in the window: if not, call `need`. */
  has(bytes: number): boolean {
    return this.#at + bytes <= this.#buffer.length;
  }

  /** Brings the next `bytes` bytes into the window. Throws if the file or the header's bound ends before them. */
  async need(bytes: number): Promise<void> {
    if (this.has(bytes)) return;
    if (bytes > this.remaining) throw this.fault(`the file ends here, but ${bytes} more bytes are needed`);
    if (this.offset + bytes > MAX_HEADER_BYTES) throw this.fault(`the header is longer than ${MAX_HEADER_BYTES} bytes`);
    const offset = this.offset;
    const length = Math.min(Math.max(bytes, WINDOW), this.remaining);
    const reused = this.#buffer.buffer;
    const storage = reused.byteLength >= length ? reused : new ArrayBuffer(length);
    const buffer = Buffer.from(storage, 0, length);
    let filled = 0;
    while (filled < length) {
      const { bytesRead } = await this.#handle.read(buffer, filled, length - filled, offset + filled);
      if (bytesRead === 0) throw this.fault('the file became shorter while it was read');
      filled += bytesRead;
    }
    this.#buffer = buffer;
    this.#view = new DataView(storage, 0, length);
    this.#base = offset;
    this.#at = 0;
  }

  u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  i8(): number {
    return this.#view.getInt8(this.#advance(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#advance(2), this.littleEndian);
  }

  i16(): number {
    return this.#view.getInt16(this.#advance(2), this.littleEndian);
  }

  u32(): number {
    return this.#view.getUint32(this.#advance(4), this.littleEndian);
  }

  i32(): number {
    return this.#view.getInt32(this.#advance(4), this.littleEndian);
  }

  f32(): number {
    return this.#view.getFloat32(this.#advance(4), this.littleEndian);
  }

  f64(): number {
    return this.#view.getFloat64(this.#advance(8), this.littleEndian);
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#advance(8), this.littleEndian);
  }

  i64(): bigint {
    return this.#view.getBigInt64(this.#advance(8), this.littleEndian);
  }

  /** A uint64 that counts things of at least `itemBytes` bytes each, all of them still to come in this file. */
  count(itemBytes: number, what: string): number {
    const offset = this.offset;
    const count = this.u64();
    if (count * BigInt(itemBytes) > BigInt(this.remaining)) {
      throw this.fault(`${count} ${what} cannot be in the ${this.remaining} bytes that follow`, offset);
    }
    return Number(count);
  }

  /** A string: its length as a uint64, then that many bytes of UTF-8. */
  async string(): Promise<string> {
    await this.need(8);
    const length = this.count(1, 'bytes of text');
    await this.need(length);
    return this.#text(length);
  }

  /** The same, if all of it is in the window; if not, nothing is read. */
  windowString(): string | undefined {
    if (!this.has(8)) return undefined;
    const start = this.#at;
    const length = this.count(1, 'bytes of text');
    if (this.has(length)) return this.#text(length);
    this.#at = start;
    return undefined;
  }

  #text(length: number): string {
    const start = this.#advance(length);
    return this.#buffer.toString('utf8', start, start + length);
  }

  #advance(bytes: number): number {
    const at = this.#at;
    this.#at += bytes;
    return at;
  }
}
