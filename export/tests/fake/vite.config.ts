/** The page with a stand-in for the networks: `vite build --config tests/fake/vite.config.ts --outDir DIR`. */

import { join } from "node:path";
import { defineConfig } from "vite";
import { page } from "../../vite.page.ts";

const root = join(import.meta.dirname, "..", "..");

export default defineConfig({
  root,
  base: "./",
  build: { target: "es2022", assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  plugins: [
    page(),
    {
      name: "stand-in",
      enforce: "pre",
      resolveId(name) {
        return name.endsWith("engine/client") ? join(import.meta.dirname, "reader.ts") : undefined;
      },
    },
  ],
});
