/** The engine without the app's page: `vite build --config e2e/harness/vite.config.ts --outDir DIR`. */

import { defineConfig } from "vite";
import { WORKER } from "../../vite.threads.ts";

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  build: { emptyOutDir: true, target: "es2022", assetsInlineLimit: 0 },
  worker: WORKER,
});
