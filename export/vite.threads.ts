/** What threads of WebAssembly need of a server and of a build. */

import { createRequire } from "node:module";
import type { Plugin, UserConfig } from "vite";
import { packed } from "./vite.packed.ts";

/** Without these two headers a page gets no shared memory, and WebAssembly no threads. */
export const ISOLATED = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/**
 * Makes a file of the program that each thread of TensorFlow.js runs, and gives its address as the
 * module `virtual:tfjs-thread`: the package holds it as a text and would start it from a blob,
 * which a strict policy forbids.
 */
export function threadProgram(): Plugin {
  const id = "virtual:tfjs-thread";
  const { wasmWorkerContents } = createRequire(import.meta.url)(
    "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd.worker.js",
  );
  // The text has lost the backslashes before its line ends.
  const source = wasmWorkerContents.replaceAll("\n", "\\n");
  const served = "/tfjs-thread.js";
  return {
    name: "thread-program",
    resolveId: (name) => (name === id ? `\0${id}` : undefined),
    load(name) {
      if (name !== `\0${id}`) return undefined;
      if (this.environment.mode === "dev") return `export default ${JSON.stringify(served)};`;
      const file = this.emitFile({ type: "asset", name: "tfjs-thread.js", source });
      return `export default import.meta.ROLLUP_FILE_URL_${file};`;
    },
    configureServer(server) {
      server.middlewares.use(served, (_request, response) => {
        response.setHeader("Content-Type", "text/javascript");
        for (const [name, value] of Object.entries(ISOLATED)) response.setHeader(name, value);
        response.end(source);
      });
    },
  };
}

/** How the worker with the networks is built. */
export const WORKER: NonNullable<UserConfig["worker"]> = {
  format: "es",
  plugins: () => [threadProgram(), packed()],
  // LiteRT.js's program asks for these where it runs in Node.js, which it never does here.
  rolldownOptions: { external: [/^node:/] },
};
