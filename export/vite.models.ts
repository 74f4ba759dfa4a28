/** The models in the built app: of the bundles what it reads; what `cellnet export` wrote stays. */

import { copyFile, mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Plugin } from "vite";
import { ISOLATED } from "./vite.threads.ts";

const MODELS = ["model1", "dysplasianet"];

/** A bundle's files that are of use to the app; only the second network has an operating point. */
const FILES = ["bundle.json", "model.tflite", "golden.npz", "operating_point.json", "CARD.md"];

/** Empties the output folder but for `models/`, and puts the bundles there. */
export function models(): Plugin[] {
  return [inTheBuild(), whileDeveloping()];
}

/** While developing, the models of the last build are served. */
function whileDeveloping(): Plugin {
  return {
    name: "models-while-developing",
    apply: "serve",
    configureServer(server) {
      const folder = join(resolve(server.config.root, server.config.build.outDir), "models");
      server.middlewares.use("/models", async (request, response) => {
        const { pathname } = new URL(request.url ?? "/", "http://localhost");
        const file = resolve(join(folder, decodeURIComponent(pathname)));
        const content = file.startsWith(folder) ? await readFile(file).catch(() => null) : null;
        response.writeHead(content ? 200 : 404, ISOLATED).end(content);
      });
    },
  };
}

function inTheBuild(): Plugin {
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
        const from = join(root, "..", "models", name);
        const files = (await readdir(from)).filter((file) => FILES.includes(file));
        await Promise.all(files.map((file) => copyFile(join(from, file), join(bundle, file))));
      }
    },
  };
}
