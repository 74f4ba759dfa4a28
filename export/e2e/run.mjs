/**
 * Drives the app in Chromium as a user would, prints a line for each check, and ends with 1 where
 * one failed: `node e2e/run.mjs --smear DIR [--second DIR --expected FILE] [--shots DIR]`.
 *
 *   --smear     a drawn smear (`cellnet data draw --smear`)
 *   --expected  what `cellnet predict-smear --json` says of it; the networks are left out without it
 *   --second    another drawn smear, read without a network
 *   --origin    where the built app is served with its models, such as http://127.0.0.1:8000
 *   --dist      else the folder to serve (default: dist)
 *   --shots     a folder for screenshots
 *   --only      `page` or `networks`
 */

import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openBrowser } from "./browser.mjs";
import { Checks } from "./checks.mjs";
import { checkNetworks } from "./networks.mjs";
import { checkPage } from "./stand-in.mjs";

const text = { type: "string" };
const { values } = parseArgs({
  options: {
    smear: text,
    second: text,
    expected: text,
    origin: text,
    dist: text,
    shots: text,
    only: text,
  },
});
if (!values.smear) {
  console.error("--smear must name a folder of drawn cells: cellnet data draw --smear --out DIR");
  process.exit(2);
}
const dist = resolve(values.dist ?? join(import.meta.dirname, "..", "dist"));
const folder = await mkdtemp(join(tmpdir(), "cellnet-e2e-"));
const shots = values.shots ? resolve(values.shots) : null;
if (shots) await mkdir(shots, { recursive: true });
const checks = new Checks();
const browser = await openBrowser();
try {
  if (values.only !== "networks") {
    await checkPage({ checks, browser, folder, shots, pictures: resolve(values.smear) });
  }
  if (values.expected && values.only !== "page") {
    await checkNetworks({
      checks,
      browser,
      folder,
      shots,
      dist,
      origin: values.origin,
      smear: resolve(values.smear),
      second: resolve(values.second ?? values.smear),
      expected: resolve(values.expected),
    });
  }
} finally {
  await browser.close();
  await rm(folder, { recursive: true, force: true });
}
console.log(`${checks.passed} passed, ${checks.failed} failed`);
process.exit(checks.failed > 0 ? 1 : 0);
