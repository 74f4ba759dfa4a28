/** Chromium, started as a laboratory's browser would be: no profile, no background talk. */

import { existsSync } from "node:fs";

// One that playwright-core installed lies beside it, not in the user's home.
process.env.PLAYWRIGHT_BROWSERS_PATH ??= "0";
const { chromium } = await import("playwright-core");

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** Where the browser is; CHROMIUM=... overrules. */
export function chromiumPath() {
  const places = [process.env.CHROMIUM, ...PLACES, chromium.executablePath()];
  return places.find((path) => path && existsSync(path)) ?? null;
}

export async function openBrowser() {
  const executablePath = chromiumPath();
  if (!executablePath) {
    throw new Error(
      "Chromium is needed: apt-get install chromium, or name one with CHROMIUM=/path/to/chromium",
    );
  }
  return chromium.launch({
    executablePath,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}
