import { unpackTokenizer } from '../../../artifact/tokenizer/file.ts';
import { BitnetError } from '../../../errors.ts';
import { Engine } from '../engine.ts';
import { contextOf, expectedOf, weightsOf } from '../manifest.ts';
import { Model, type ModelParts } from '../model.ts';
import { type BrowserLoadOptions, checkBrowserOptions } from '../options.ts';
import { createTokenizer } from '../tokenizer/index.ts';
import type { WantedFile } from './download.ts';
import { type Source, sourceOfTar, sourceOfUrl } from './source.ts';
import { nothingRuns, obstacleOf, type Rejected, threadsHere, wantedTargets } from './targets.ts';
import { Weights } from './weights.ts';

/** Prompt tokens of a step. */
const CHUNK = 128;

/** A model in a page. */
export class BrowserModel extends Model {
  /** Faster targets that do not run here, and why. */
  readonly rejected: readonly Rejected[];

  /** See load. */
  constructor(parts: ModelParts, rejected: readonly Rejected[]) {
    super(parts);
    this.rejected = rejected;
  }
}

/**
 * Loads a compiled model into the page: from the address of its folder, relative to the page's, or from a tar archive of the
 * folder. Its files are checked by their sha256; those of an address are stored in the browser as they come, so that a download
 * goes on where it broke off and the next visit needs none. The model runs in Web Workers.
 * @throws BitnetError where the files cannot be had or are not those that were compiled, where the browser can run none of the
 * targets or has no memory for it, and for a bad option
 */
export async function load(
  from: string | URL | Blob | ArrayBuffer,
  options: BrowserLoadOptions = {},
): Promise<BrowserModel> {
  const { targets, threads, contextLength, memoryLimit, onProgress, signal, ...rest } = checkBrowserOptions(options);
  signal?.throwIfAborted();
  const wanted = wantedTargets(targets);
  const source = sourceOf(from);
  onProgress?.({ stage: 'manifest' });
  const manifest = await source.manifest(signal);
  const context = contextOf(manifest, contextLength);

  onProgress?.({ stage: 'tokenizer' });
  const tables = unpackTokenizer(await whole(source, { ...manifest.tokenizer, what: 'tokenizer' }, signal));
  const tokenizer = createTokenizer(tables);

  const rejected: Rejected[] = [];
  let failure: BitnetError | undefined;
  for (const target of wanted) {
    const entry = manifest.targets[target.id];
    const reason = entry ? await obstacleOf(target, targets !== undefined) : 'the model was not compiled for it';
    if (!entry || reason !== undefined) {
      rejected.push({ target: target.id, reason: reason! });
      continue;
    }
    const { file, bytes, sha256 } = weightsOf(manifest, entry);
    const engineOptions = {
      ...expectedOf(entry),
      weightsBytes: bytes,
      threads: threadsHere(threads),
      context,
      kv: rest.kv,
      sequences: rest.sequences,
      chunk: rest.prefillChunk ?? CHUNK,
      ...(memoryLimit === undefined ? {} : { memoryLimit }),
    };
    const program = await whole(source, { file: entry.library, sha256: entry.sha256, what: 'library' }, signal);
    const told = (loaded: number) => onProgress?.({ stage: 'weights', target: target.id, loaded, total: bytes });
    const weights = new Weights(source, { file, bytes, sha256, what: 'weights' }, told, signal);
    let engine: Engine;
    try {
      engine = await Engine.open((wake) => target.open(engineOptions, { program, weights }, wake, signal));
    } catch (error) {
      signal?.throwIfAborted();
      // What could not be read, no target can.
      if (weights.awaited || !(error instanceof BitnetError)) throw error;
      failure = error;
      rejected.push({ target: target.id, reason: error.message });
      continue;
    } finally {
      weights.opening = false;
    }
    if (signal?.aborted) {
      await engine.dispose();
      throw signal.reason;
    }
    await source.loaded();
    onProgress?.({ stage: 'ready' });
    const { weightsBytes, kvBytes, workspaceBytes } = engine.facts;
    const parts = {
      manifest,
      target: target.id,
      engine,
      tokenizer,
      chatTemplate: tables.scalars.chatTemplate,
      sequences: rest.sequences,
      resident: () => weightsBytes + kvBytes + workspaceBytes,
    };
    return new BrowserModel(parts, rejected);
  }
  throw nothingRuns(manifest, rejected, failure);
}

function sourceOf(from: string | URL | Blob | ArrayBuffer): Source {
  if (typeof from === 'string' || from instanceof URL) return sourceOfUrl(from);
  if (from instanceof Blob) return sourceOfTar(from);
  if (from instanceof ArrayBuffer) return sourceOfTar(new Blob([from]));
  throw new BitnetError('load takes an address, a File or an ArrayBuffer');
}

/** All of a file, from the start of a buffer. */
async function whole(
  source: Source,
  file: WantedFile,
  signal: AbortSignal | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  for await (const piece of source.read(file, signal)) pieces.push(piece);
  return new Uint8Array(await new Blob(pieces).arrayBuffer());
}
