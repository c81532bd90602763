// The page without a network, and with threads on servers that send no headers for them, from the second visit on. Models are
// stored by the package itself.
const CACHE = 'page';
const ISOLATED = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

// What the page had loaded before this was there to see it.
self.addEventListener('message', ({ data }) => {
  void caches.open(CACHE).then((cache) => Promise.all(data.map((url) => cache.add(url).catch(() => {}))));
});

self.addEventListener('fetch', (event) => {
  const { destination, method, url } = event.request;
  // What scripts fetch, as models, has no destination.
  const isPart = method === 'GET' && destination !== '' && new URL(url).origin === location.origin;
  if (isPart) event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    // Where there is no room for it, there is a network.
    if (response.ok) await cache.put(request, response.clone()).catch(() => {});
    return isolated(response);
  } catch (error) {
    const stored = await cache.match(request, { ignoreSearch: true });
    if (stored) return isolated(stored);
    throw error;
  }
}

function isolated(response) {
  if (!response.ok) return response;
  const { body, status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}
