/** The harness, built for a run and served with the models of the built app. */

import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..", "..");

/** Build it into a new folder below the one given; the models are linked, not copied. */
export function buildHarness(folder, dist) {
  const out = join(folder, "harness");
  const vite = join(ROOT, "node_modules", "vite", "bin", "vite.js");
  const config = join(import.meta.dirname, "vite.config.ts");
  const options = ["build", "--config", config, "--outDir", out, "--logLevel", "error"];
  const { status, stderr } = spawnSync(process.execPath, [vite, ...options], { encoding: "utf8" });
  if (status !== 0) throw new Error(`the harness cannot be built: ${stderr}`);
  symlinkSync(join(dist, "models"), join(out, "models"));
  return out;
}

/** All images of a smear's folder, as a page can be given them: name and base64. */
export function filesOf(folder, below = "") {
  return readdirSync(join(folder, below))
    .sort()
    .flatMap((name) => {
      const path = below ? `${below}/${name}` : name;
      if (statSync(join(folder, path)).isDirectory()) return filesOf(folder, path);
      return [{ file: path, base64: readFileSync(join(folder, path)).toString("base64") }];
    });
}

/** Open the harness in a page, with the files as `globalThis.inputs`. */
export async function openHarness(browser, origin, files = []) {
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  await page.goto(`${origin}/index.html`);
  await page.waitForFunction(() => "cellnet" in globalThis);
  await page.evaluate((given) => {
    globalThis.inputs = given.map(({ file, base64 }) => ({
      file,
      blob: new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))]),
    }));
  }, files);
  return page;
}
