// The page without a network: what it has been given once is given again. Models are stored by the package itself.
const CACHE = 'page';

self.addEventListener('install', () => self.skipWaiting());
self.addEventListener('activate', (event) => event.waitUntil(self.clients.claim()));

const isPart = (url) => new URL(url).origin === location.origin && !url.includes('/model/');

// What the page had loaded before this was there to see it.
self.addEventListener('message', ({ data }) => {
  const parts = data.filter(isPart);
  void caches.open(CACHE).then((cache) => Promise.all(parts.map((url) => cache.add(url).catch(() => {}))));
});

self.addEventListener('fetch', (event) => {
  const { request } = event;
  if (!isPart(request.url) || request.method !== 'GET') return;
  event.respondWith(
    caches.open(CACHE).then(async (cache) => {
      try {
        const response = await fetch(request);
        if (response.ok) await cache.put(request, response.clone());
        return response;
      } catch (error) {
        const stored = await cache.match(request, { ignoreSearch: true });
        if (stored) return stored;
        throw error;
      }
    }),
  );
});
