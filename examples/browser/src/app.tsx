import type { Model } from 'bitnet-toolchain/browser';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Chat } from './chat.tsx';
import { Chooser } from './chooser.tsx';

/** What runs, and why that. */
function Facts({ model }: { model: Model }) {
  const { weights, kv, workspace } = model.memory();
  const mebibytes = Math.round((weights + kv + workspace) / 2 ** 20);
  const threads = model.threads === 1 ? 'one thread' : `${model.threads} threads`;
  const alone = crossOriginIsolated ? '' : ', as the page is not cross-origin isolated';
  const by = model.device || `${threads}${alone}`;
  return (
    <p class="faint" id="facts">
      {model.info.name} on {model.target}, {by}; {mebibytes} MiB of memory.
      {model.rejected.map(({ target, reason }) => ` Not on ${target}: ${reason}.`)}
    </p>
  );
}

function ThemeButton() {
  const [theme, setTheme] = useState(localStorage.getItem('theme') ?? '');
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem('theme', theme);
  }, [theme]);
  const next = { '': 'light', light: 'dark', dark: '' }[theme] ?? '';
  return (
    <button type="button" onClick={() => setTheme(next)}>
      Colours: {theme || 'as the system'}
    </button>
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
      <Chooser onModel={take} />
      {model && <Facts model={model} />}
      {model && <Chat model={model} key={model.info.sha256} />}
    </main>
  );
}
