import { defineConfig } from "vitest/config";
import { models } from "./vite.models.ts";
import { packed } from "./vite.packed.ts";
import { page } from "./vite.page.ts";
import { ISOLATED, threadProgram, WORKER } from "./vite.threads.ts";

export default defineConfig({
  // Relative addresses: any web server serves the app from any folder.
  base: "./",
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: false,
    // A strict policy takes no data: addresses and no inline script.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // How long each step took is no warning.
    rolldownOptions: { checks: { bundlerTimings: false } },
  },
  worker: WORKER,
  server: { headers: ISOLATED },
  preview: { headers: ISOLATED },
  plugins: [models(), page(), threadProgram(), packed()],
  test: {
    include: ["tests/**/*.test.ts"],
    environment: "node",
  },
});
