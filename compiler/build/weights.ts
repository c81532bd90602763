import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { writeAll } from '../export/whole-file.ts';
import type { SourceIR } from '../import/source.ts';
import type { Plan } from '../ir/plan.ts';
import { inOrder } from '../threads/in-order.ts';
import { Pool, threadsFor } from '../threads/pool.ts';
import { piecesOf } from './pieces.ts';

/**
 * Hashed and written at a time, so that the event loop turns. Whole huge pages at multiples of one: file systems with large
 * folios (ext4 and XFS on Linux) then cache them in huge pages, which the runtime's mapping takes as they are.
 */
const SLICE = 4 << 20;

/** Appends to the weights file, hashing on the way. */
class Writer {
  private readonly hash = createHash('sha256');
  private readonly handle: FileHandle;
  private readonly slice = Buffer.alloc(SLICE);
  private filled = 0;
  private position = 0;

  constructor(handle: FileHandle) {
    this.handle = handle;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + SLICE - this.filled);
      this.slice.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
      if (this.filled === SLICE) await this.flush();
    }
    this.position += bytes.length;
  }

  /** Zeros up to a position that is not behind. */
  async padTo(position: number): Promise<void> {
    if (position < this.position) throw new Error(`what goes to ${position} follows what ended at ${this.position}`);
    if (position > this.position) await this.write(new Uint8Array(position - this.position));
  }

  /** Writes what is left, to stay on disk, and returns the sha256 of it all. */
  async end(): Promise<string> {
    await this.flush();
    await this.handle.sync();
    return this.hash.digest('hex');
  }

  private async flush(): Promise<void> {
    const bytes = this.slice.subarray(0, this.filled);
    const written = writeAll(this.handle, bytes);
    this.hash.update(bytes);
    await written;
    this.filled = 0;
  }
}

export interface WriteOptions {
  readonly onProgress?: (fraction: number) => void;
  readonly signal?: AbortSignal;
  /** Threads that pack; 0: the caller's own. Default: as many as the size is worth. */
  readonly threads?: number;
}

/**
 * Writes the packed weights file of a plan, piece by piece: memory stays at a few matrices, however many threads pack.
 * Returns its sha256.
 * Throws a BitnetError that names the tensor whose contents cannot be.
 */
export async function writeWeights(
  ir: SourceIR,
  plan: Pick<Plan, 'weights' | 'hyper'>,
  file: string,
  { onProgress, signal, threads = threadsFor(plan.weights.bytes) }: WriteOptions = {},
): Promise<string> {
  await using pool = new Pool(ir, threads);
  const handle = await open(file, 'wx');
  await using _closing = { [Symbol.asyncDispose]: () => handle.close() };
  const writer = new Writer(handle);
  for await (const placed of inOrder(piecesOf(plan), pool.depth, (piece) => pool.run('pack', piece))) {
    signal?.throwIfAborted();
    for (const { position, bytes } of placed) {
      await writer.padTo(position);
      await writer.write(bytes);
    }
    const { position, bytes } = placed.at(-1)!;
    onProgress?.((position + bytes.length) / plan.weights.bytes);
  }
  await writer.padTo(plan.weights.bytes);
  const digest = await writer.end();
  onProgress?.(1);
  return digest;
}
