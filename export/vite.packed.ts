/**
 * Files of megabytes that come packed, whatever server they come from: `import address from
 * "FILE?packed"` gives the address of the file in gzip, which a browser unpacks by itself
 * (`DecompressionStream`). It is called `.bin`: of a `.gz`, servers say what the browser would
 * unpack on its own, or would not.
 */

import { readFile } from "node:fs/promises";
import { basename, extname } from "node:path";
import { gzipSync } from "node:zlib";
import type { Plugin } from "vite";

const QUERY = "?packed";
const SERVED = "/packed/";

export function packed(): Plugin {
  return {
    name: "packed",
    // Before Vite itself, which would give out a `.wasm` in a way of its own.
    enforce: "pre",
    async load(id) {
      if (!id.endsWith(QUERY)) return undefined;
      const file = id.slice(0, -QUERY.length);
      if (this.environment.mode === "dev") {
        return `export default ${JSON.stringify(SERVED + encodeURIComponent(file))};`;
      }
      const name = `${basename(file, extname(file))}.bin`;
      const source = gzipSync(await readFile(file), { level: 9 });
      const reference = this.emitFile({ type: "asset", name, source });
      return `export default import.meta.ROLLUP_FILE_URL_${reference};`;
    },
    configureServer(server) {
      server.middlewares.use(SERVED, async (request, response) => {
        const file = decodeURIComponent((request.url ?? "").replace(/^\/|\?.*$/g, ""));
        // No other file of the computer.
        if (!/[/\\]node_modules[/\\].*\.wasm$/.test(file) || file.includes("..")) {
          response.writeHead(404).end();
          return;
        }
        response.setHeader("Content-Type", "application/octet-stream");
        response.end(gzipSync(await readFile(file)));
      });
    },
  };
}
