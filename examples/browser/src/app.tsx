import type { Model } from 'bitnet-toolchain/browser';
import { useRef, useState } from 'preact/hooks';
import { Chat } from './chat.tsx';
import { Chooser } from './chooser.tsx';
import { ThemeButton } from './theme.tsx';

/** What runs, and why that. */
function Facts({ model }: { model: Model }) {
  const { weights, kv, workspace } = model.memory();
  const mebibytes = Math.round((weights + kv + workspace) / 2 ** 20);
  const threads = model.threads === 1 ? 'one thread' : `${model.threads} threads`;
  // The service worker gives the page the headers that allow them: see sw.js.
  const more = crossOriginIsolated || !('serviceWorker' in navigator) ? '' : ' (reload the page for more)';
  return (
    <p class="faint" id="facts">
      <strong>{model.info.name}</strong> on {model.target}, {model.device ?? threads + more}; {mebibytes} MiB of memory.
      {model.rejected.map(({ target, reason }) => ` Not on ${target}: ${reason}.`)}
    </p>
  );
}

export function App() {
  const [model, setModel] = useState<Model>();
  const last = useRef<Model>(undefined);
  const take = (loaded: Model | undefined) => {
    void last.current?.dispose();
    last.current = loaded;
    setModel(loaded);
  };
  return (
    <main>
      <header>
        <h1>A model in this page</h1>
        <ThemeButton />
      </header>
      <Chooser loaded={model !== undefined} onModel={take} />
      {model && <Facts model={model} />}
      {model && <Chat model={model} key={model.info.sha256} />}
    </main>
  );
}
