import type { Manifest } from '../../../artifact/manifest.ts';
import { BitnetError } from '../../../errors.ts';
import { finishInSlices } from '../../../slices.ts';
import { parseManifest } from '../manifest.ts';
import { answerOf, download, type WantedFile } from './download.ts';
import { saidOf } from './said.ts';
import { Sha256 } from './sha256.ts';
import { PIECE_BYTES, Store } from './store.ts';
import { bytesOf, filesInTar, TAR_HINT } from './tar.ts';

/** Where the files of an artifact come from. */
export interface Source {
  manifest(signal?: AbortSignal): Promise<Manifest>;
  /** A file, piece by piece, each given away. Fails at the end where its hash is not the manifest's. */
  read(file: WantedFile, signal?: AbortSignal): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>;
  /** To be called when a model of it runs. */
  loaded(): Promise<void>;
}

/**
 * An artifact's folder on a server, by its address or that of its manifest.json. Without a network its manifest is that of the
 * last model that ran; what is stored of the files of one before, and is not of this one, is given up.
 */
export function sourceOfUrl(address: string | URL): Source {
  const given = new URL(address, location.href);
  if (!given.pathname.endsWith('.json') && !given.pathname.endsWith('/')) given.pathname += '/';
  const url = given.pathname.endsWith('/') ? new URL('manifest.json', given) : given;
  let text = '';
  return {
    async manifest(signal) {
      const store = await Store.open();
      text = await textAt(url.href, signal).catch(async (error) => {
        signal?.throwIfAborted();
        if (error instanceof BitnetError) throw error;
        const stored = await store.text(url.href);
        if (stored === undefined) throw unreachable(url.href, error);
        return stored;
      });
      return parseManifest(text, url.href);
    },
    async loaded() {
      const store = await Store.open();
      const before = await store.text(url.href);
      if (before === text) return;
      await store.keepText(url.href, text);
      const files = filesOf(text);
      for (const file of filesOf(before ?? '')) if (!files.has(file)) await store.forget(file);
    },
    read: (wanted, signal) => download(new URL(wanted.file, url).href, wanted, signal),
  };
}

/** The files of a manifest, of whatever version, by their sha256. */
const filesOf = (manifest: string): ReadonlySet<string> =>
  new Set(Array.from(manifest.matchAll(/"sha256": *"([0-9a-f]{64})"/g), ([, sha256]) => sha256!));

/** Asks the server whether what the browser has is still it. */
const FRESH = { cache: 'no-cache' } as RequestInit;

async function textAt(url: string, signal: AbortSignal | undefined): Promise<string> {
  const response = await fetch(url, { ...FRESH, ...(signal ? { signal } : {}) });
  const answer = answerOf(response);
  if (answer === undefined) return response.text();
  throw new BitnetError(`${url} cannot be read: ${answer}`, {
    hint: 'The address is that of a folder that "bitnet compile" wrote.',
  });
}

const unreachable = (url: string, cause: Error): BitnetError =>
  new BitnetError(`${url} cannot be read: ${saidOf(cause)}`, {
    hint: 'Is there a network, and does a server of another origin allow this page to read it (CORS)?',
    cause,
  });

/** An artifact in one file: a tar archive of its folder. */
export function sourceOfTar(archive: Blob): Source {
  let files: Promise<ReadonlyMap<string, Blob>> | undefined;
  const find = async (name: string) => {
    files ??= filesInTar(archive);
    const file = (await files).get(name);
    if (file) return file;
    throw new BitnetError(`there is no ${name} in the file`, { hint: TAR_HINT });
  };
  return {
    manifest: async () => {
      const bytes = await bytesOf(await find('manifest.json'));
      return parseManifest(new TextDecoder().decode(bytes), 'manifest.json');
    },
    async *read({ file, sha256, what }, signal) {
      const blob = await find(file);
      const hash = new Sha256();
      for (let at = 0; at < blob.size; at += PIECE_BYTES) {
        const piece = await bytesOf(blob.slice(at, at + PIECE_BYTES));
        signal?.throwIfAborted();
        await finishInSlices(hash.add(piece));
        yield piece;
      }
      if (hash.hex() === sha256) return;
      throw new BitnetError(`${file} is damaged: it is not the ${what} file that was compiled`);
    },
    async loaded() {},
  };
}
