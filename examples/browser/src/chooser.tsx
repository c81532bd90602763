import { BitnetError, type LoadProgress, load, type Model } from 'bitnet-toolchain/browser';
import { useEffect, useRef, useState } from 'preact/hooks';

const describe = (error: unknown): string =>
  error instanceof BitnetError ? [error.message, error.hint].filter(Boolean).join('. ') : String(error);

/** An address or a file, and how far it has come. */
export function Chooser({ onModel }: { onModel: (model: Model | undefined) => void }) {
  const [address, setAddress] = useState(new URLSearchParams(location.search).get('model') ?? './model/');
  const [progress, setProgress] = useState<LoadProgress>();
  const [error, setError] = useState('');
  const [over, setOver] = useState(false);
  const leaving = useRef<AbortController>(undefined);

  const open = async (from: string | File) => {
    leaving.current?.abort();
    const controller = new AbortController();
    leaving.current = controller;
    onModel(undefined);
    setError('');
    setProgress({ stage: 'manifest' });
    try {
      onModel(await load(from, { signal: controller.signal, onProgress: setProgress }));
    } catch (reason) {
      if (!controller.signal.aborted) setError(describe(reason));
    } finally {
      if (leaving.current === controller) setProgress(undefined);
    }
  };
  useEffect(() => void open(address), []);

  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    const file = event.dataTransfer?.files[0];
    if (file) void open(file);
  };
  const share = progress?.loaded !== undefined && progress.total ? progress.loaded / progress.total : undefined;
  const said = progress && (share === undefined ? 'Reading the model' : `Weights: ${Math.round(100 * share)} %`);
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the file button beside it does the same by keyboard
    <div
      class={over ? 'drop over' : 'drop'}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={drop}
    >
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          void open(address);
        }}
      >
        <label for="address">Model</label>
        <input
          id="address"
          type="text"
          value={address}
          onInput={({ currentTarget }) => setAddress(currentTarget.value)}
        />
        <button type="submit">Load</button>
        <label>
          or a file{' '}
          <input
            type="file"
            accept=".tar"
            onChange={({ currentTarget: { files } }) => files?.[0] && void open(files[0])}
          />
        </label>
      </form>
      <p class="faint" aria-live="polite">
        {said ?? 'An address of a compiled model, or a tar archive of one dropped here.'}
      </p>
      {progress && <progress aria-label="Loading the model" value={share} />}
      {progress && (
        <button type="button" onClick={() => leaving.current?.abort()}>
          Cancel
        </button>
      )}
      {error && <p role="alert">{error}</p>}
    </div>
  );
}
