/**
 * Measures the app in Chromium without a graphics processor; `tests/bench/browser.py` asks for one
 * part at a time and puts it beside Python. Prints one JSON document.
 *
 *   node e2e/bench.mjs build  --dist DIR --built DIR       the engines without the page, once
 *   node e2e/bench.mjs engine --built DIR --smear DIR --engine litert|wasm --threads 1|2
 *                             --images N --rounds N        milliseconds an image, and a smear
 *   node e2e/bench.mjs drop   --dist DIR --smear DIR       the app, from drop to decision
 *   node e2e/bench.mjs load   --dist DIR                   the app's first visit
 *   node e2e/bench.mjs decode --built DIR --list FILE --out DIR
 *                             images as the app decodes them, and what its engine says of them
 */

import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { openBrowser } from "./browser.mjs";
import { buildHarness, filesOf, openHarness } from "./harness/build.mjs";
import { Page } from "./page.mjs";
import { startServer } from "./server.mjs";

/** Not isolated: a page of any other web server, which gets no threads. */
const PLAIN = { "Cache-Control": "no-cache" };

/** Images that a page is given at a time. */
const PORTION = 25;

const text = { type: "string" };
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dist: text,
    built: text,
    smear: text,
    engine: text,
    threads: text,
    images: text,
    rounds: text,
    list: text,
    out: text,
  },
});
const parts = { build, engine, drop, load, decode };
const part = parts[positionals[0]];
if (!part) {
  console.error(`bench.mjs: the part must be one of ${Object.keys(parts).join(", ")}`);
  process.exit(2);
}
console.log(JSON.stringify(await part()));

function build() {
  return { built: buildHarness(resolve(values.built), resolve(values.dist)) };
}

async function engine() {
  const threads = Number(values.threads);
  const server = await startServer(resolve(values.built), threads === 1 ? { headers: PLAIN } : {});
  const browser = await openBrowser();
  const page = await openHarness(browser, server.origin, filesOf(resolve(values.smear)));
  const order = {
    only: values.engine,
    rounds: Number(values.rounds),
    count: Number(values.images),
  };
  const timed = await page.evaluate(({ only, rounds, count }) => {
    const files = globalThis.inputs.slice(0, count).map(({ blob }) => blob);
    return globalThis.cellnet.bench({
      base: new URL("./", location.href).href,
      only,
      files,
      rounds,
    });
  }, order);
  const found = timed.engine.threads;
  if (found !== Math.min(threads, cpus().length)) {
    throw new Error(`${values.engine} ran on ${found} threads, wanted ${threads}`);
  }
  const smear = await page.evaluate(wholeSmear, values.engine);
  await browser.close();
  await server.close();
  return { label: timed.engine.label, open_ms: timed.open, ...timed.times, smear };
}

/** Runs in the page: from the files to the decision, the networks being open. */
async function wholeSmear(only) {
  const { CellReader, judge } = globalThis.cellnet;
  const reader = await CellReader.open(new URL("./", location.href), () => {}, only);
  const start = performance.now();
  const readings = [];
  await reader.read(
    globalThis.inputs,
    { reading: (it) => readings.push(it), unreadable() {} },
    new AbortController().signal,
  );
  const none = { unreadable: [], passedOver: [], scores: new Map(), corrections: new Map() };
  const point = reader.models.dysplasianet.operatingPoint;
  const report = judge({ name: "bench", readings, ...none }, point, reader.models);
  const seconds = (performance.now() - start) / 1000;
  reader.close();
  const { decision, dysplastic, neutrophils } = report;
  return { cells: report.cells.length, seconds, decision, dysplastic, neutrophils };
}

/** The built app as a user has it: a folder is dropped, the decision stands on the page. */
async function drop() {
  const server = await startServer(resolve(values.dist));
  const browser = await openBrowser();
  const page = await Page.open(browser, server.origin);
  page.page.setDefaultTimeout(0);
  await ready(page.page);
  // What the service worker fetches for later visits is no part of this.
  await page.kept();
  await page.page.evaluate(() => {
    const note = (event) => {
      if (event.type === "drop") globalThis.droppedAt = performance.now();
    };
    document.addEventListener("drop", note, { capture: true });
    const watch = new MutationObserver(() => {
      if (document.querySelector(".decision.card .scale")) {
        globalThis.decidedAt ??= performance.now();
      }
    });
    watch.observe(document.body, { childList: true, subtree: true });
  });
  await page.drop([resolve(values.smear)]);
  const milliseconds = await (
    await page.page.waitForFunction(
      () => globalThis.decidedAt && globalThis.decidedAt - globalThis.droppedAt,
    )
  ).jsonValue();
  const engine = await page.text(".engine");
  const decision = await page.text(".decision > p");
  const cells = await page.text(".head p");
  await browser.close();
  await server.close();
  return { engine, seconds: milliseconds / 1000, decision, cells: Number.parseInt(cells, 10) };
}

/** A first visit of the built app, its caches empty. */
async function load() {
  const dist = resolve(values.dist);
  const server = await startServer(dist);
  const browser = await openBrowser();
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  await page.addInitScript(() => {
    const watch = new MutationObserver(() => {
      // Whatever is dropped from here on is taken.
      if (document.querySelector(".dropzone button")) globalThis.usableAt ??= performance.now();
    });
    watch.observe(document, { childList: true, subtree: true });
  });
  await page.goto(`${server.origin}/`);
  await ready(page);
  const readyAt = await page.evaluate(() => performance.now());
  const { usable, paint } = await page.evaluate(() => ({
    usable: globalThis.usableAt,
    paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null,
  }));
  // The service worker begins afterwards, and asks for its list first.
  const asked = [...new Set(server.asked.map((path) => (path === "/" ? "/index.html" : path)))];
  const before = asked.filter((path) => path !== "/integrity.json" && path !== "/sw.js");
  await browser.close();
  await server.close();
  const html = readFileSync(join(dist, "index.html"), "utf8");
  const own = [
    "index.html",
    ...Array.from(html.matchAll(/(?:src|href)="\.\/([^"]+)"/g), (it) => it[1]),
  ];
  const sizes = (paths) => {
    const files = paths.map((path) => join(dist, path)).filter((file) => isFile(file));
    return {
      files: files.length,
      bytes: files.reduce((sum, file) => sum + statSync(file).size, 0),
      bytes_gzip: files.reduce((sum, file) => sum + gzipSync(readFileSync(file)).length, 0),
    };
  };
  const isModel = (path) => path.startsWith("/models/");
  const offline = JSON.parse(readFileSync(join(dist, "integrity.json"), "utf8")).files.filter(
    ({ path }) => !/^models\/[^/]+\/(?!bundle|tfjs)|^assets\/litert_wasm_internal/.test(path),
  );
  return {
    first_paint_ms: paint,
    usable_ms: usable,
    ready_ms: readyAt,
    page: sizes(own),
    until_ready: sizes(before),
    models: sizes(before.filter(isModel)),
    programs: sizes(before.filter((path) => !isModel(path))),
    offline: sizes(offline.map(({ path }) => path)),
  };
}

/** The models are there. */
function ready(page) {
  return page.waitForFunction(() => /The models are ready/.test(document.body.textContent ?? ""));
}

/** Each listed file's pixels, as `NUMBER.rgb` below the folder given; sizes and answers are printed. */
async function decode() {
  const files = JSON.parse(readFileSync(values.list, "utf8"));
  const out = resolve(values.out);
  mkdirSync(out, { recursive: true });
  const server = await startServer(resolve(values.built));
  const browser = await openBrowser();
  const page = await openHarness(browser, server.origin);
  const engine = await page.evaluate(async () => {
    globalThis.reader = await globalThis.cellnet.CellReader.open(new URL("./", location.href));
    return globalThis.reader.engine.label;
  });
  const images = [];
  for (let from = 0; from < files.length; from += PORTION) {
    const given = files.slice(from, from + PORTION).map((file, nth) => ({
      file: String(from + nth),
      base64: readFileSync(file).toString("base64"),
    }));
    const found = await page.evaluate(async (portion) => {
      const inputs = portion.map(({ file, base64 }) => ({
        file,
        blob: new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))]),
      }));
      const answers = new Map();
      await globalThis.reader.read(
        inputs,
        { reading: (it) => answers.set(it.file, it), unreadable() {} },
        new AbortController().signal,
      );
      const decoded = [];
      for (const { file, blob } of inputs) {
        const { width, height, rgb } = await globalThis.cellnet.decodeImage(blob);
        let binary = "";
        for (let at = 0; at < rgb.length; at += 32768) {
          binary += String.fromCharCode(...rgb.subarray(at, at + 32768));
        }
        const { probabilities, granularity } = answers.get(file);
        const answer = { probabilities, granularity };
        decoded.push({ file, width, height, base64: btoa(binary), ...answer });
      }
      return decoded;
    }, given);
    for (const { file, base64, ...image } of found) {
      writeFileSync(join(out, `${file}.rgb`), Buffer.from(base64, "base64"));
      images.push(image);
    }
  }
  const version = browser.version();
  await browser.close();
  await server.close();
  return { engine, chromium: version, images };
}

function isFile(path) {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}
