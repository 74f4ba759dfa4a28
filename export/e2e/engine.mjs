/**
 * The engine without the page, in Chromium: decoding as Python decodes, each engine's answers against
 * Python's, cancelling, damaged models, memory. Prints a line for each check, and ends with 1 where
 * one failed: `node e2e/engine.mjs --smear DIR --expected FILE [--dist DIR]`.
 *
 *   --smear     a drawn smear (`cellnet data draw --smear`)
 *   --expected  what `cellnet predict-smear --json` says of it
 *   --dist      the built app with its models (default: dist)
 */

import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { openBrowser } from "./browser.mjs";
import { assert, Checks } from "./checks.mjs";
import { buildHarness, filesOf, openHarness } from "./harness/build.mjs";
import { startServer } from "./server.mjs";

/** What 8-bit weights may cost where an engine computes with floats; LiteRT computes as Python. */
const TOLERANCE = { wasm: 0.01, litert: 0.005 };

const text = { type: "string" };
const { values } = parseArgs({ options: { smear: text, expected: text, dist: text } });
if (!values.smear || !values.expected) {
  console.error("--smear and --expected must name a drawn smear and Python's report of it");
  process.exit(2);
}
const dist = resolve(values.dist ?? join(import.meta.dirname, "..", "dist"));
const python = JSON.parse(readFileSync(values.expected, "utf8"));
const files = filesOf(resolve(values.smear));
const cases = join(import.meta.dirname, "..", "..", "tests", "cases", "decode.json");
const folder = mkdtempSync(join(tmpdir(), "cellnet-engine-"));
const checks = new Checks();
const check = checks.check.bind(checks);
const browser = await openBrowser();
const built = buildHarness(folder, dist);
const server = await startServer(built);
try {
  await checkDecoding();
  for (const name of ["litert", "wasm"]) await checkEngine(name);
  await checkFailures();
} finally {
  await server.close();
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${checks.passed} passed, ${checks.failed} failed`);
process.exit(checks.failed > 0 ? 1 : 0);

async function checkDecoding() {
  const page = await openHarness(browser, server.origin);
  for (const { why, data, width, height, rgb, tolerance } of JSON.parse(readFileSync(cases))
    .files) {
    await check(`decoded as Python decodes: ${why}`, async () => {
      const found = await page.evaluate(async (base64) => {
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        const image = await globalThis.cellnet.decodeImage(new Blob([bytes]));
        return { width: image.width, height: image.height, rgb: Array.from(image.rgb) };
      }, data);
      assert.deepEqual([found.width, found.height], [width, height]);
      const wanted = Buffer.from(rgb, "base64");
      const most = Math.max(...found.rgb.map((value, nth) => Math.abs(value - wanted[nth])));
      assert.ok(most <= tolerance, `differs by ${most} levels`);
      return most > 0 ? `differs by ${most} level at most` : "";
    });
  }
  await page.close();
}

async function checkEngine(name) {
  const page = await openHarness(browser, server.origin, files);
  await check(`${name}: it opens, proves itself and names itself`, async () => {
    const { engine, models, progress } = await page.evaluate(async (only) => {
      const progress = [];
      const tell = (done, total) => progress.push([done, total]);
      globalThis.reader = await globalThis.cellnet.CellReader.open(
        new URL("./", location.href),
        tell,
        only,
      );
      return { engine: globalThis.reader.engine, models: globalThis.reader.models, progress };
    }, name);
    assert.equal(engine.name, name);
    const [done, total] = progress.at(-1);
    assert.equal(done, total);
    const bare = ({ name, version, sha256 }) => ({ name, version, sha256 });
    assert.deepEqual(
      { model1: bare(models.model1), dysplasianet: bare(models.dysplasianet) },
      python.models,
    );
    assert.equal(models.dysplasianet.operatingPoint.cutoff, python.cutoff);
    assert.ok(engine.threads >= Math.min(2, cpus().length), "an isolated page has threads");
    return engine.label;
  });
  await check(`${name}: labels, scores and probabilities are Python's`, async () => {
    const { readings, unreadable } = await read(page);
    assert.deepEqual(unreadable, []);
    const byFile = new Map(readings.map((reading) => [reading.file, reading]));
    assert.deepEqual([...byFile.keys()].sort(), python.cells.map(({ file }) => file).sort());
    let most = 0;
    let scores = 0;
    for (const cell of python.cells) {
      const { probabilities, granularity } = byFile.get(cell.file);
      Object.values(cell.probabilities).forEach((value, nth) => {
        most = Math.max(most, Math.abs(value - probabilities[nth]));
      });
      assert.equal(granularity === null, cell.granularity === null, cell.file);
      if (granularity !== null) scores = Math.max(scores, Math.abs(granularity - cell.granularity));
    }
    const told = `probabilities differ by ${most.toPrecision(2)}, scores by ${scores.toPrecision(2)}`;
    assert.ok(most <= TOLERANCE[name] && scores <= 1e-3, told);
    return told;
  });
  await check(`${name}: an image is answered the same alone, and again`, async () => {
    const first = await read(page, [3]);
    const again = await read(page, [9, 3, 0]);
    const of = ({ readings }) => readings.find(({ file }) => file === first.readings[0].file);
    assert.deepEqual(of(again), first.readings[0]);
  });
  await check(`${name}: maps of both networks have their sizes and signs`, async () => {
    const { naming, scoring, score, sides } = await page.evaluate(async () => {
      const { reader, inputs } = globalThis;
      const naming = await reader.activationMap(inputs[0], "model1", 6);
      const scoring = await reader.activationMap(inputs[0], "dysplasianet", 0);
      const plain = (map) => [map.width, map.height, Array.from(map.values)];
      const sides = await reader
        .activationMap(inputs[0], "model1", 8)
        .catch((error) => error.message);
      const score = await reader.score(inputs[0]);
      return { naming: plain(naming), scoring: plain(scoring), score, sides };
    });
    assert.deepEqual([naming[0], naming[1], naming[2].length], [3, 3, 9]);
    assert.deepEqual([scoring[0], scoring[1], scoring[2].length], [16, 16, 256]);
    assert.ok([...naming[2], ...scoring[2]].every(Number.isFinite));
    assert.ok(score >= 0 && score <= 1);
    assert.match(sides, /model1 has outputs 0 to 7, got 8/);
  });
  await check(`${name}: a cancel is felt at once, and reading goes on afterwards`, async () => {
    const {
      told,
      name: error,
      wait,
      later,
    } = await page.evaluate(async () => {
      const { reader, inputs } = globalThis;
      const control = new AbortController();
      let told = 0;
      let since = 0;
      const on = {
        reading() {
          told += 1;
          if (told === 2) {
            since = performance.now();
            control.abort();
          }
        },
        unreadable() {},
      };
      const failure = await reader.read(inputs, on, control.signal).catch((error) => error);
      const wait = performance.now() - since;
      const before = told;
      let later = 0;
      await reader.read(
        inputs.slice(0, 3),
        { reading: () => (later += 1), unreadable() {} },
        new AbortController().signal,
      );
      return { told: before, name: failure?.name, wait, later };
    });
    assert.equal(error, "AbortError");
    assert.ok(told <= 3, `${told} were told`);
    assert.ok(wait < 200, `it took ${wait} ms`);
    assert.equal(later, 3);
  });
  await check(`${name}: bad files are listed, the others answered`, async () => {
    const { readings, unreadable } = await page.evaluate(async () => {
      const whole = globalThis.inputs[0];
      const bytes = await whole.blob.arrayBuffer();
      const bad = [
        { file: "empty.jpg", blob: new Blob([]) },
        whole,
        { file: "torn.jpg", blob: new Blob([bytes.slice(0, bytes.byteLength / 2)]) },
        { file: "letter.png", blob: new Blob(["Dear colleague,"]) },
      ];
      const told = { readings: [], unreadable: [] };
      await globalThis.reader.read(
        bad,
        {
          reading: (it) => told.readings.push(it.file),
          unreadable: (it) => told.unreadable.push(it),
        },
        new AbortController().signal,
      );
      return told;
    });
    assert.deepEqual(readings, [files[0].file]);
    assert.deepEqual(unreadable, [
      { file: "empty.jpg", reason: "the file is empty" },
      { file: "torn.jpg", reason: "the file is truncated: its end is missing" },
      {
        file: "letter.png",
        reason: "it is a text file, not a JPEG, PNG, BMP, TIFF or WebP image",
      },
    ]);
  });
  await check(
    `${name}: answers do not depend on their company, and nothing is left behind`,
    async () => {
      const { alone, together, held } = await page.evaluate(
        (only) =>
          globalThis.cellnet.bench({
            base: new URL("./", location.href).href,
            only,
            files: globalThis.inputs.slice(0, 8).map(({ blob }) => blob),
            rounds: 2,
          }),
        name,
      );
      assert.deepEqual(alone, together);
      assert.deepEqual(held[1], held[0]);
      return `${held[0].count} ${held[0].what} before and after`;
    },
  );
  await check(`${name}: closed, it fails in words`, async () => {
    const message = await page.evaluate(async () => {
      globalThis.reader.close();
      return globalThis.reader.score(globalThis.inputs[0]).catch((error) => error.message);
    });
    assert.match(message, /was closed/);
  });
  await page.close();
}

function read(page, places = null) {
  return page.evaluate(async (chosen) => {
    const { reader, inputs } = globalThis;
    const told = { readings: [], unreadable: [] };
    await reader.read(
      chosen ? chosen.map((place) => inputs[place]) : inputs,
      { reading: (it) => told.readings.push(it), unreadable: (it) => told.unreadable.push(it) },
      new AbortController().signal,
    );
    return told;
  }, places);
}

async function checkFailures() {
  const changes = [
    [
      "a damaged file of weights",
      "model1/bundle/model.tflite",
      (file) => flip(file),
      /model\.tflite is damaged: its sha256/,
    ],
    [
      "damaged golden images",
      "model1/bundle/golden.npz",
      (file) => flip(file),
      /golden\.npz is damaged: its sha256/,
    ],
    [
      "a page instead of a description",
      "model1/bundle/bundle.json",
      () => "<!doctype html>",
      /bundle\.json is no JSON/,
    ],
    [
      "another order of classes",
      "model1/bundle/bundle.json",
      (file) =>
        file
          .toString()
          .replace('"basophil",\n      "eosinophil"', '"eosinophil",\n      "basophil"'),
      /its classes is/,
    ],
    [
      "no operating point",
      "dysplasianet/bundle/operating_point.json",
      () => null,
      /operating_point\.json answers 404/,
    ],
    [
      "an operating point of other weights",
      "dysplasianet/bundle/operating_point.json",
      (file) => file.toString().replace(/"weights_sha256": "./, '"weights_sha256": "0'),
      /fitted with weights/,
    ],
  ];
  for (const [what, path, change, expected] of changes) {
    await check(`${what} opens nothing, and says so`, async () => {
      const message = await openChanged(path, change, "litert");
      assert.match(message, expected);
    });
  }
  await check("a graph of other weights is refused", async () => {
    const change = (file) => file.toString().replace(/"sha256": "./, '"sha256": "0');
    assert.match(
      await openChanged("model1/tfjs/export.json", change, "wasm"),
      /is not of the model model1/,
    );
  });
  await check("a damaged graph is refused", async () => {
    const message = await openChanged("dysplasianet/tfjs/group1-shard1of1.bin", flip, "wasm");
    assert.match(message, /group1-shard1of1\.bin is damaged/);
  });
  await check("wrong answers are noticed, whatever the hashes say", async () => {
    const message = await openChanged(
      "dysplasianet/bundle/bundle.json",
      (file) => {
        const description = JSON.parse(file.toString());
        // Images made ready in another way than the network learnt.
        description.input.scale /= 2;
        return JSON.stringify(description);
      },
      "litert",
    );
    assert.match(message, /it answers wrongly: the answers of dysplasianet differ by/);
  });
  await check("an engine that is not there is refused with the reason", async () => {
    const page = await openHarness(browser, server.origin);
    const message = await page.evaluate(() =>
      globalThis.cellnet.CellReader.open(new URL("./", location.href), () => {}, "webgpu").then(
        ({ engine }) => `opened ${engine.label}`,
        (error) => error.message,
      ),
    );
    await page.close();
    assert.match(message, /webgpu: (the browser has no WebGPU|there is no graphics processor)/);
  });
}

/** What opening says where one file of the models is another; null for none. */
async function openChanged(path, change, only) {
  const other = join(folder, "changed");
  rmSync(other, { recursive: true, force: true });
  cpSync(built, other, { recursive: true, dereference: true });
  const file = join(other, "models", path);
  const content = change(readFileSync(file));
  if (content === null) rmSync(file);
  else writeFileSync(file, content);
  server.serve(other);
  const page = await openHarness(browser, server.origin);
  try {
    return await page.evaluate(
      (name) =>
        globalThis.cellnet.CellReader.open(new URL("./", location.href), () => {}, name).then(
          () => "it opened",
          (error) => error.message,
        ),
      only,
    );
  } finally {
    server.serve(built);
    await page.close();
  }
}

function flip(file) {
  const changed = Buffer.from(file);
  changed[changed.length >> 1] ^= 1;
  return changed;
}
