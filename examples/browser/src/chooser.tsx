import { type LoadProgress, load, type Model } from 'bitnet-toolchain/browser';
import { useEffect, useRef, useState } from 'preact/hooks';
import { describe } from './errors.ts';

/** What is going on, and how much of it is done. */
function stateOf({ stage, loaded = 0, total = 1, target }: LoadProgress): { said: string; share: number } {
  if (stage !== 'weights') return { said: 'Reading the model', share: 0 };
  const share = loaded / total;
  const percent = Math.floor(100 * share);
  return { said: share < 1 ? `Weights for ${target}: ${percent} %` : `Starting the model on ${target}`, share };
}

interface Props {
  /** Whether there is a model. */
  readonly loaded: boolean;
  readonly onModel: (model: Model | undefined) => void;
}

/** An address or a file, and how far it has come. A file may be dropped anywhere on the page. */
export function Chooser({ loaded, onModel }: Props) {
  const [address, setAddress] = useState(new URLSearchParams(location.search).get('model') ?? './model/');
  const [progress, setProgress] = useState<LoadProgress>();
  const [error, setError] = useState('');
  const [over, setOver] = useState(false);
  const leaving = useRef<AbortController>(undefined);

  const open = async (from: string | File) => {
    leaving.current?.abort();
    const controller = new AbortController();
    const { signal } = controller;
    leaving.current = controller;
    onModel(undefined);
    setError('');
    setProgress({ stage: 'manifest' });
    try {
      const model = await load(from, { signal, onProgress: setProgress });
      if (signal.aborted) await model.dispose();
      else onModel(model);
    } catch (reason) {
      if (!signal.aborted) setError(describe(reason));
    } finally {
      if (leaving.current === controller) setProgress(undefined);
    }
  };
  useEffect(() => {
    void open(address);
    const listen = (type: 'dragover' | 'dragleave' | 'drop', then: (event: DragEvent) => void) =>
      addEventListener(type, (event) => {
        event.preventDefault();
        then(event);
      });
    listen('dragover', () => setOver(true));
    listen('dragleave', ({ relatedTarget }) => setOver(relatedTarget !== null));
    listen('drop', ({ dataTransfer }) => {
      setOver(false);
      const file = dataTransfer?.files[0];
      if (file) void open(file);
    });
  }, []);

  const state = progress && stateOf(progress);
  return (
    <details class={over ? 'chooser over' : 'chooser'} open={!loaded}>
      <summary>{loaded ? 'Another model' : 'The model'}</summary>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          void open(address);
        }}
      >
        <label for="address">Address</label>
        <input
          id="address"
          type="text"
          inputMode="url"
          value={address}
          onInput={({ currentTarget }) => setAddress(currentTarget.value)}
        />
        <button type="submit">Load</button>
        <label class="button">
          Open a file
          <input
            type="file"
            accept=".tar"
            onChange={({ currentTarget }) => {
              const [file] = currentTarget.files ?? [];
              // The same one may be chosen again.
              currentTarget.value = '';
              if (file) void open(file);
            }}
          />
        </label>
      </form>
      <p class="faint">The folder of a compiled model; or a tar archive of one, which may be dropped here.</p>
      {state && (
        <div class="row">
          <span class="faint">{state.said}</span>
          <progress aria-label="Loading the model" value={state.share} />
          <button type="button" onClick={() => leaving.current?.abort()}>
            Cancel
          </button>
        </div>
      )}
      {error && <p role="alert">{error}</p>}
    </details>
  );
}
