import { defineConfig } from 'vite';

// With these headers the page may have threads.
const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export default defineConfig({
  base: './',
  build: { target: 'es2022' },
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact' },
  server: { headers },
  preview: { headers },
});
