/** A page of the app in Chromium, as a user has it in front of them, and what it must never do. */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { until } from "./checks.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Messages that are no fault: a browser without a graphics processor says so. */
const HARMLESS = [/WebGL/i, /WebGPU/i, /GPU/];

export class Page {
  /** Console errors, policy violations, uncaught errors. */
  troubles = [];
  /** Addresses that were asked for on another host than the page's. */
  strangers = [];

  constructor(page, origin) {
    this.page = page;
    this.origin = origin;
  }

  /** Open the app in a browser of its own, as on another computer. */
  static async open(browser, origin, options = {}) {
    const { hash = "", ...context } = options;
    const its = await browser.newContext({
      viewport: { width: 1280, height: 900 },
      ...context,
    });
    return Page.in(its, origin, hash);
  }

  static async in(context, origin, hash = "") {
    const page = new Page(await context.newPage(), origin);
    page.#watch(context);
    await page.page.goto(`${origin}/${hash}`);
    return page;
  }

  #watch(context) {
    context.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      if (!["blob:", "data:"].includes(protocol) && origin !== this.origin) {
        this.strangers.push(request.url());
      }
    });
    this.page.on("pageerror", (error) => this.troubles.push(String(error)));
    this.page.on("console", (message) => {
      const text = message.text();
      const isBad = message.type() === "error" || /Content.Security.Policy/i.test(text);
      if (isBad && !HARMLESS.some((it) => it.test(text))) this.troubles.push(text);
    });
  }

  /** Drop files and folders of the disk on the page, as from a file manager. */
  async drop(paths) {
    const session = await this.page.context().newCDPSession(this.page);
    const data = { items: [], files: paths, dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) {
      await session.send("Input.dispatchDragEvent", {
        type,
        x: 300,
        y: 300,
        data,
      });
    }
    await session.detach();
  }

  /** Choose a folder with the button. */
  async choose(folder) {
    const chooser = this.page.waitForEvent("filechooser");
    await this.page.getByRole("button", { name: "Choose folder" }).first().click();
    await (await chooser).setFiles(folder);
  }

  /** Wait until nothing is read any more. */
  async read(smears, seconds = 120) {
    await until(
      async () => {
        const alert = this.page.getByRole("alert");
        if ((await alert.count()) > 0) throw new Error(await alert.first().innerText());
        return (
          (await this.page.locator(".smear").count()) >= smears &&
          (await this.page.locator(".smear.waiting, .smear.reading").count()) === 0
        );
      },
      `${smears} smears read`,
      seconds,
    );
  }

  async show(name) {
    await this.page.locator(".smear", { hasText: name }).click();
    await until(
      async () => (await this.text("main h1")).includes(name),
      `the smear ${name} is shown`,
    );
  }

  text(selector) {
    return this.page.locator(selector).first().innerText();
  }

  texts(selector) {
    return this.page.locator(selector).allInnerTexts();
  }

  /** What a screen reader was told last. */
  said() {
    return this.page.locator("#said").innerText();
  }

  async saved(button) {
    const download = this.page.waitForEvent("download");
    await this.page.getByRole("button", { name: button }).click();
    const file = await download;
    return {
      name: file.suggestedFilename(),
      text: await readFile(await file.path(), "utf8"),
    };
  }

  /** Whether the service worker has the page in its hands. */
  controlled(seconds = 180) {
    return until(
      () => this.page.evaluate(() => navigator.serviceWorker.controller !== null),
      "the service worker controls the page",
      seconds,
    );
  }

  /** Wait until all that the page may ever need is kept on this computer. */
  async kept(seconds = 180) {
    await this.controlled(seconds);
    const missing = () =>
      this.page.evaluate(async () => {
        const { files } = await (await fetch("integrity.json")).json();
        const others = /^models\/[^/]+\/(?!bundle|tfjs)|^assets\/litert_wasm_internal/;
        const isWanted = ({ path }) => !others.test(path);
        const known = files.filter(isWanted).map(async ({ path }) => {
          return (await caches.match(path)) ? "" : path;
        });
        return (await Promise.all(known)).filter(Boolean);
      });
    await until(async () => (await missing()).length === 0, "everything is kept", seconds);
  }

  /** What axe finds that is serious or critical. */
  async axe() {
    // Through the debugger, so that the page's policy stays as it is.
    await this.page.evaluate(AXE);
    const violations = await this.page.evaluate(async () => {
      const result = await globalThis.axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
      });
      return result.violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes.length}, such as ${nodes[0].html.slice(0, 200)}`);
    });
    if (violations.length > 0) throw new Error(violations.join("\n"));
  }

  close() {
    return this.page.context().close();
  }
}
