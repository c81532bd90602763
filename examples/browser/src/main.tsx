import { render } from 'preact';
import { App } from './app.tsx';

render(<App />, document.body);

if ('serviceWorker' in navigator) {
  void navigator.serviceWorker.register('./sw.js');
  const { active } = await navigator.serviceWorker.ready;
  const loaded = performance.getEntriesByType('resource').map(({ name }) => name);
  active?.postMessage([location.href, ...loaded]);
}
