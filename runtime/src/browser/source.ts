import { BitnetError } from '../../../errors.ts';
import { finishInSlices } from '../../../slices.ts';
import { download, type WantedFile } from './download.ts';
import { Sha256 } from './sha256.ts';
import { PIECE_BYTES, Store } from './store.ts';
import { filesInTar, TAR_HINT } from './tar.ts';

/** Where the files of an artifact come from. */
export interface Source {
  /** The text of manifest.json, and what it is called in errors. */
  manifest(): Promise<{ readonly text: string; readonly name: string }>;
  /** A file, piece by piece, each given away. Fails at the end where its hash is not the manifest's. */
  read(file: WantedFile): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void>;
}

/**
 * An artifact's folder on a server, by its address or that of its manifest.json. Without a network its manifest is the one of
 * the last visit.
 */
export function sourceOfUrl(address: string | URL, signal: AbortSignal | undefined): Source {
  const given = new URL(address, location.href);
  if (!given.pathname.endsWith('.json') && !given.pathname.endsWith('/')) given.pathname += '/';
  const url = given.pathname.endsWith('/') ? new URL('manifest.json', given) : given;
  return {
    async manifest() {
      const store = await Store.open();
      const text = await manifestAt(url.href, signal).catch(async (error) => {
        const stored = error instanceof BitnetError || signal?.aborted ? undefined : await store.text(url.href);
        if (stored !== undefined) return stored;
        throw error instanceof BitnetError || signal?.aborted ? error : unreachable(url.href, error);
      });
      await store.keepText(url.href, text);
      return { text, name: url.href };
    },
    read: (wanted) => download(new URL(wanted.file, url).href, wanted, signal),
  };
}

/** Asks the server whether what the browser has is still it. */
const FRESH = { cache: 'no-cache' } as RequestInit;

async function manifestAt(url: string, signal: AbortSignal | undefined): Promise<string> {
  const response = await fetch(url, { ...FRESH, ...(signal ? { signal } : {}) });
  if (response.ok) return response.text();
  throw new BitnetError(`${url} cannot be read: the server answers ${response.status} ${response.statusText}`, {
    hint: 'The address is that of a folder that "bitnet compile" wrote.',
  });
}

const unreachable = (url: string, cause: Error): BitnetError =>
  new BitnetError(`${url} cannot be read: ${cause.message}`, {
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
    manifest: async () => ({ text: await (await find('manifest.json')).text(), name: 'manifest.json' }),
    async *read({ file, sha256, what }) {
      const blob = await find(file);
      const hash = new Sha256();
      for (let at = 0; at < blob.size; at += PIECE_BYTES) {
        const piece = new Uint8Array(await blob.slice(at, at + PIECE_BYTES).arrayBuffer());
        await finishInSlices(hash.add(piece));
        yield piece;
      }
      if (hash.hex() !== sha256) throw new BitnetError(`${file} is damaged: it is not the ${what} that was compiled`);
    },
  };
}
