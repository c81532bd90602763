import { render } from 'preact';
import { App } from './app.tsx';

render(<App />, document.body);

/** Has the service worker keep what the page consists of; what it fetched besides are models. */
async function keep() {
  await navigator.serviceWorker.register('./sw.js');
  const { active } = await navigator.serviceWorker.ready;
  const entries = performance.getEntriesByType('resource') as PerformanceResourceTiming[];
  const parts = entries.filter(({ initiatorType }) => initiatorType !== 'fetch').map(({ name }) => name);
  active?.postMessage([location.href, ...parts.filter((url) => url.startsWith(location.origin))]);
}

// Where the browser allows none, the page does without.
if ('serviceWorker' in navigator) keep().catch(() => {});
