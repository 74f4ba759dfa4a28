/**
 * How fast the app is, in Chromium without a graphics processor, beside Python in the same run:
 * `node e2e/bench.mjs [--python FILE] [--cells 100] [--rounds 5] [--out FILE]`. Prints JSON.
 *
 *   engines    milliseconds an image by engine and by threads, single and in batches of eight
 *   python     the same of LiteRT with the bundles' weights and of ONNX Runtime in float32
 *   ratios     each engine's time in ONNX Runtime's, for the same number of threads
 *   smear      a drawn smear, from its files to the decision
 *   load       the built app's first visit: bytes, and milliseconds until the page can be used
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { openBrowser } from "./browser.mjs";
import { buildHarness, filesOf, openHarness } from "./harness/build.mjs";
import { startServer } from "./server.mjs";

const REPOSITORY = join(import.meta.dirname, "..", "..");
const text = { type: "string" };
const { values } = parseArgs({
  options: { python: text, cells: text, rounds: text, dist: text, out: text },
});
const python = resolve(values.python ?? join(REPOSITORY, ".venv", "bin", "python"));
const dist = resolve(values.dist ?? join(REPOSITORY, "export", "dist"));
const cells = Number(values.cells ?? 100);
const rounds = Number(values.rounds ?? 5);
const TIMED = 16;

/** Not isolated: a page of any other web server, which gets no threads. */
const PLAIN = { "Cache-Control": "no-cache" };

if (!isFile(join(dist, "index.html")) || !isFile(join(dist, "integrity.json"))) {
  console.error(`bench-web: there is no built app in ${dist}: make web`);
  process.exit(1);
}
const folder = mkdtempSync(join(tmpdir(), "cellnet-bench-"));
try {
  const document = await measure();
  const shown = JSON.stringify(document, null, 2);
  if (values.out) writeFileSync(values.out, `${shown}\n`);
  console.log(shown);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function measure() {
  const smear = join(folder, "smear");
  say(`drawing ${cells} cells`);
  cellnet(
    "-m",
    "cellnet",
    "data",
    "draw",
    "--smear",
    "--out",
    smear,
    "--cells",
    String(cells),
    "--seed",
    "1",
  );
  say("Python");
  const script = join(REPOSITORY, "tests", "bench", "browser.py");
  const exports = join(dist, "models");
  const own = JSON.parse(
    cellnet(
      script,
      "--smear",
      smear,
      "--exports",
      exports,
      "--images",
      String(TIMED),
      "--rounds",
      String(rounds),
    ),
  );
  const built = buildHarness(folder, dist);
  const files = filesOf(smear);
  const engines = {};
  for (const [threads, options] of [
    [1, { headers: PLAIN }],
    [2, {}],
  ]) {
    const server = await startServer(built, options);
    for (const name of ["litert", "wasm"]) {
      say(`${name}, ${threads} of the threads`);
      const browser = await openBrowser();
      const page = await openHarness(browser, server.origin, files);
      const timed = await page.evaluate(bench, { only: name, rounds, count: TIMED });
      if (timed.engine.threads !== Math.min(threads, cpus().length)) {
        throw new Error(`${name} ran on ${timed.engine.threads} threads, wanted ${threads}`);
      }
      const { engine, open, times } = timed;
      engines[name] ??= {};
      engines[name][threads] = {
        label: engine.label,
        open_ms: Math.round(open),
        ...Object.fromEntries(Object.entries(times).map(([role, it]) => [role, rounded(it)])),
        smear: await page.evaluate(wholeSmear, name),
      };
      await browser.close();
    }
    await server.close();
  }
  return {
    machine: machine(),
    cells,
    rounds,
    engines,
    python: rounded(own),
    ratios: ratios(engines, own.onnx),
    load: await firstLoad(),
  };
}

/** Runs in the page. */
function bench({ only, rounds: number, count }) {
  const files = globalThis.inputs.slice(0, count).map(({ blob }) => blob);
  const base = new URL("./", location.href).href;
  return globalThis.cellnet.bench({ base, only, files, rounds: number });
}

/** Runs in the page: from the files to the decision, the networks being open. */
async function wholeSmear(only) {
  const { CellReader, judge } = globalThis.cellnet;
  const reader = await CellReader.open(new URL("./", location.href), () => {}, only);
  const start = performance.now();
  const readings = [];
  const unreadable = [];
  await reader.read(
    globalThis.inputs,
    { reading: (it) => readings.push(it), unreadable: (it) => unreadable.push(it) },
    new AbortController().signal,
  );
  const report = judge(
    {
      name: "bench",
      readings,
      unreadable,
      passedOver: [],
      scores: new Map(),
      corrections: new Map(),
    },
    reader.models.dysplasianet.operatingPoint,
    reader.models,
  );
  const seconds = (performance.now() - start) / 1000;
  reader.close();
  const { decision, dysplastic, neutrophils } = report;
  return {
    cells: report.cells.length,
    seconds: Number(seconds.toFixed(2)),
    decision,
    dysplastic,
    neutrophils,
  };
}

/** A first visit of the built app, its caches empty. */
async function firstLoad() {
  say("the first load of the app");
  const server = await startServer(dist);
  const browser = await openBrowser();
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  const start = performance.now();
  await page.goto(`${server.origin}/index.html`, { waitUntil: "load" });
  const loaded = performance.now() - start;
  const painted = await page.evaluate(
    () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null,
  );
  await page.waitForFunction(() => /The models are ready/.test(document.body.textContent));
  const ready = performance.now() - start;
  const engine = await page.evaluate(() => document.querySelector(".engine")?.textContent ?? "");
  // The service worker fetches for later visits, in the background; it asks with the cache passed.
  const asked = [...new Set(server.asked)];
  await browser.close();
  await server.close();
  const sizes = (paths) => {
    const found = paths.map((path) => join(dist, path)).filter((file) => isFile(file));
    return {
      files: found.length,
      bytes: found.reduce((sum, file) => sum + statSync(file).size, 0),
      bytes_gzip: found.reduce((sum, file) => sum + gzipSync(readFileSync(file)).length, 0),
    };
  };
  return {
    engine: engine.trim(),
    first_paint_ms: Math.round(painted ?? loaded),
    loaded_ms: Math.round(loaded),
    models_ready_ms: Math.round(ready),
    asked_until_ready: sizes(asked),
    whole_app: sizes(listed(dist)),
  };
}

function ratios(engines, onnx) {
  const found = {};
  for (const [name, byThreads] of Object.entries(engines)) {
    for (const [threads, it] of Object.entries(byThreads)) {
      for (const role of ["model1", "dysplasianet"]) {
        const mark = onnx[role]?.[threads];
        if (!mark) continue;
        found[name] ??= {};
        found[name][threads] ??= {};
        found[name][threads][role] = Number((it[role].single / mark).toFixed(2));
      }
    }
  }
  return found;
}

function rounded(value) {
  if (typeof value === "number") return Number(value.toPrecision(4));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, rounded(it)]));
}

function listed(root, below = "") {
  return readdirSync(join(root, below), { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory()
      ? listed(root, join(below, entry.name))
      : [join(below, entry.name)].filter(
          (path) => !/models\/[^/]+\/(savedmodel|litert|onnx)\//.test(path),
        ),
  );
}

function isFile(path) {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function machine() {
  const [first] = cpus();
  const [load] = readFileSync("/proc/loadavg", "utf8").split(" ");
  return { processor: first?.model ?? "", cores: cpus().length, load_before: Number(load) };
}

function cellnet(...command) {
  const env = { ...process.env, PYTHONPATH: REPOSITORY };
  return execFileSync(python, command, {
    encoding: "utf8",
    env,
    maxBuffer: 2 ** 26,
    stdio: ["ignore", "pipe", "ignore"],
  });
}

function say(what) {
  process.stderr.write(`bench-web: ${what}\n`);
}
