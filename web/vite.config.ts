// Build of the viewer. Everything is bundled; the page loads nothing from elsewhere and runs under the strict policy
// in server/http. During development `vite` forwards the API to a running server named by KERF_URL.
import { defineConfig } from 'vite';

const server = process.env['KERF_URL'] ?? 'http://127.0.0.1:8080';

export default defineConfig({
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1500,
    reportCompressedSize: false,
  },
  worker: { format: 'es' },
  server: {
    proxy: { '/api': server, '/dicom-web': server },
    headers: {
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
    },
  },
});
