import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { BitnetError } from '../../errors.ts';
import { type Checksum, Digest, readPieces } from './digest.ts';
import type { Reply } from './http.ts';
import type { Hub, HubFile } from './hub.ts';
import type { ModelId } from './names.ts';
import { Interruption } from './retry.ts';

/** A connection that brought this much has done enough for the tries to be counted anew. */
const GAIN_BYTES = 1 << 20;
/** Wrong bytes may come of a partial file that a crash has damaged, or of a bad moment; twice they are the server's. */
const MAX_WRONG = 2;

/** The bytes that came are not those that were announced. */
class WrongBytes extends Error {}

/**
 * Brings a file of a model to `partial`, from where that ends if it is there already, and checks its bytes.
 * A failure leaves the partial file for the next time, unless its bytes are wrong.
 * @param onBytes told how much of it is there
 * @returns the file's sha256
 * @throws BitnetError where the Hub refuses, keeps failing, or sends what it did not announce
 */
export async function fetchFile(
  hub: Hub,
  id: ModelId,
  commit: string,
  file: HubFile,
  partial: string,
  onBytes: (bytes: number) => void = () => {},
): Promise<string> {
  const target = await PartialFile.open(partial, file, hub.signal);
  try {
    for (let wrong = 1; ; wrong++) {
      try {
        await hub.retrying(() => receive(hub, id, commit, file, target, onBytes));
        return await target.finish();
      } catch (error) {
        if (!(error instanceof WrongBytes)) throw error;
        await target.clear();
        if (wrong < MAX_WRONG) continue;
        throw new BitnetError(`${id.repo}: ${file.path} is not what was announced: ${error.message}`, {
          hint: 'nothing of it was kept; try again, or another mirror (HF_ENDPOINT)',
          cause: error,
        });
      }
    }
  } finally {
    await target.close();
  }
}

/** One request: as much of the file as it brings. Throws an Interruption where that is not the rest of it. */
async function receive(
  hub: Hub,
  id: ModelId,
  commit: string,
  { path, bytes }: HubFile,
  target: PartialFile,
  onBytes: (bytes: number) => void,
): Promise<void> {
  onBytes(target.bytes);
  if (target.bytes === bytes) return;
  const reply = await hub.open(id, commit, path, target.bytes);
  if (!continues(reply, target.bytes)) {
    await target.clear();
    onBytes(0);
    if (reply.status !== 200) {
      await reply.cancel();
      throw new Interruption(`the server has no rest of ${path} to send`);
    }
  }
  try {
    for await (const piece of reply.pieces()) {
      if (target.bytes + piece.length > bytes) throw new WrongBytes(`more than ${bytes} bytes`);
      await target.append(piece);
      onBytes(target.bytes);
    }
  } catch (error) {
    if (!(error instanceof Interruption)) throw error;
    throw new Interruption(error.message, { cause: error, gained: target.gained() });
  }
  if (target.bytes < bytes) {
    throw new Interruption(`${path} ended after ${target.bytes} of ${bytes} bytes`, { gained: target.gained() });
  }
}

/** Whether an answer goes on where the partial file ends. */
function continues({ status, headers }: Reply, from: number): boolean {
  if (status === 200) return from === 0;
  return status === 206 && Number(/^bytes (\d+)-/.exec(headers.get('Content-Range') ?? '')?.[1]) === from;
}

/** A file that is not all there yet, with the checksums of what is. */
class PartialFile {
  readonly #handle: FileHandle;
  readonly #checksum: Checksum;
  readonly #total: number;
  #digest: Digest;
  #bytes = 0;
  #best = 0;

  private constructor(handle: FileHandle, { checksum, bytes }: HubFile) {
    this.#handle = handle;
    this.#checksum = checksum;
    this.#total = bytes;
    this.#digest = new Digest(checksum, bytes);
  }

  /** Opens what an earlier try has left, or an empty file. */
  static async open(path: string, file: HubFile, signal?: AbortSignal): Promise<PartialFile> {
    const partial = new PartialFile(await open(path, constants.O_RDWR | constants.O_CREAT), file);
    try {
      const { size } = await partial.#handle.stat();
      if (size > file.bytes) await partial.clear();
      else for await (const piece of readPieces(path, signal)) partial.#count(piece);
      partial.#best = partial.#bytes;
      return partial;
    } catch (error) {
      await partial.close();
      throw error;
    }
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Whether there is more of it than ever before, by enough to count. A server without ranges begins again and again. */
  gained(): boolean {
    if (this.#bytes < this.#best + GAIN_BYTES) return false;
    this.#best = this.#bytes;
    return true;
  }

  async append(piece: Uint8Array): Promise<void> {
    for (let at = 0; at < piece.length; ) {
      at += (await this.#handle.write(piece, at, piece.length - at, this.#bytes + at)).bytesWritten;
    }
    this.#count(piece);
  }

  async clear(): Promise<void> {
    await this.#handle.truncate(0);
    this.#digest = new Digest(this.#checksum, this.#total);
    this.#bytes = 0;
  }

  /** Checks the whole file, and sees it safely onto the disk. Returns its sha256. */
  async finish(): Promise<string> {
    const { sha256, matches, found } = this.#digest.end();
    if (!matches) throw new WrongBytes(`its ${this.#checksum.kind} checksum is ${found}, not ${this.#checksum.hex}`);
    await this.#handle.sync();
    return sha256;
  }

  close(): Promise<void> {
    return this.#handle.close();
  }

  #count(piece: Uint8Array): void {
    this.#digest.update(piece);
    this.#bytes += piece.length;
  }
}
