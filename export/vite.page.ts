/** What the page needs of the build: the service worker beside it, and the drawn example. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Plugin } from "vite";

const POLICY = /<meta\s+http-equiv="Content-Security-Policy"[^>]*>/;

export function page(): Plugin[] {
  return [
    {
      name: "page",
      config(config) {
        const root = config.root ?? import.meta.dirname;
        return {
          define: { EXAMPLE_FILES: JSON.stringify(exampleFiles(join(root, "public", "example"))) },
          build: {
            rolldownOptions: {
              input: { index: join(root, "index.html"), sw: join(root, "src", "sw.ts") },
              output: {
                // A service worker governs the folder that it lies in, and its address stays.
                entryFileNames: ({ name }) => (name === "sw" ? "sw.js" : "assets/[name]-[hash].js"),
              },
            },
          },
        };
      },
    },
    {
      // While developing, styles are put into the page by a script, which the policy forbids.
      name: "policy-while-developing",
      apply: "serve",
      transformIndexHtml: (html) => html.replace(POLICY, ""),
    },
  ];
}

/** The images that `cellnet data draw --smear` drew for the example; none where it was left out. */
function exampleFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(".jpg"))
      .sort();
  } catch {
    return [];
  }
}
