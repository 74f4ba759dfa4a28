/** The models in the built app: the bundles are copied, what `cellnet export` wrote stays. */

import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Plugin } from "vite";

const MODELS = ["model1", "dysplasianet"];

/** Empties the output folder but for `models/`, and puts the bundles there. */
export function models(): Plugin {
  let root = "";
  let out = "";
  return {
    name: "models",
    apply: "build",
    configResolved(config) {
      root = config.root;
      out = resolve(config.root, config.build.outDir);
    },
    async buildStart() {
      const names = await readdir(out).catch(() => []);
      for (const name of names.filter((name) => name !== "models")) {
        await rm(join(out, name), { recursive: true });
      }
    },
    async closeBundle() {
      for (const name of MODELS) {
        const bundle = join(out, "models", name, "bundle");
        await rm(bundle, { recursive: true, force: true });
        await mkdir(bundle, { recursive: true });
        await cp(join(root, "..", "models", name), bundle, { recursive: true });
      }
    },
  };
}
