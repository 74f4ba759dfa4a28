/** The built app with its models: the same answers as Python's, with and without a network. */

import { copyFile, cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import Ajv from "ajv/dist/2020.js";
import { assert, until } from "./checks.mjs";
import { Page } from "./page.mjs";
import { startServer } from "./server.mjs";

const SCHEMA = join(import.meta.dirname, "..", "..", "cellnet", "schemas", "smear-report.json");

/** What quantised weights and another JPEG decoder may cost. */
const TOLERANCE = 0.01;

/** Computers that train networks at the same time take this long. */
const PATIENCE = 900;

export async function checkNetworks(options) {
  const { checks, browser, folder, shots, smear, second, expected } = options;
  const check = checks.check.bind(checks);
  // A copy, so that a build meanwhile changes nothing here; without the forms for other programs.
  const dist = join(folder, "dist");
  const others = /[/\\]models[/\\][^/\\]+[/\\](savedmodel|litert|onnx)$/;
  await cp(options.dist, dist, { recursive: true, filter: (path) => !others.test(path) });
  const server = await startServer(dist);
  const python = JSON.parse(await readFile(expected, "utf8"));
  const schema = JSON.parse(await readFile(SCHEMA, "utf8"));
  const validate = new Ajv({ allErrors: true, strict: false }).compile(schema);
  const page = await Page.open(browser, server.origin);
  const shot = (name) => shots && page.page.screenshot({ path: join(shots, `${name}.png`) });
  const decision = () => page.text(".decision > p");
  try {
    await check("the page itself has no script and no style in line", async () => {
      const html = await readFile(join(dist, "index.html"), "utf8");
      assert.ok(!/<script(?![^>]*\bsrc=)|<style|\bstyle=|\son[a-z]+=/i.test(html));
      assert.match(html, /Content-Security-Policy/);
    });
    const isRead = await check("a drawn smear is dropped and read", async () => {
      await page.page.locator(".brand").waitFor();
      await page.drop([smear]);
      await page.read(1, PATIENCE);
      await shot("networks-result");
      return `by ${await page.text(".engine")}`;
    });
    if (!isRead) return;
    await check("the JSON keeps to the schema that Python's keeps to", async () => {
      const { name, text } = await page.saved("Save JSON");
      assert.equal(name, `${basename(smear)}.json`);
      assert.ok(validate(JSON.parse(text)), JSON.stringify(validate.errors));
    });
    await check("labels, decision and probabilities are Python's", async () => {
      const report = JSON.parse((await page.saved("Save JSON")).text);
      return compare(report, python);
    });
    await check("both activation maps are computed", async () => {
      await page.page.locator(".group .cell").first().click();
      await page.page.keyboard.press("a");
      const dialog = page.page.locator("dialog[open]");
      const question = dialog.getByRole("combobox");
      for (const key of ["granularity", "neutrophil"]) {
        await question.selectOption(key);
        const words = dialog.locator(".map-words");
        await until(
          async () => !/Computing|^$/.test(await words.innerText()),
          `the map of ${key}`,
          PATIENCE,
        );
        assert.match(await words.innerText(), /fields over the picture|Hardly anything/);
        await shot(`networks-map-${key}`);
      }
      await page.page.keyboard.press("Escape");
    });
    await check("a correction recomputes, and the saved report holds it", async () => {
      const cell = page.page.locator(".group.lymphocyte .cell").first();
      const file = await cell.getAttribute("data-file");
      await cell.focus();
      await page.page.keyboard.press("n");
      await until(
        async () => new RegExp(`of ${python.neutrophils + 1} `).test(await decision()),
        "one neutrophil more",
        PATIENCE,
      );
      const report = JSON.parse((await page.saved("Save JSON")).text);
      assert.ok(validate(report), JSON.stringify(validate.errors));
      const corrected = "neutrophil";
      assert.deepEqual(report.corrections, [{ file, label: "lymphocyte", corrected }]);
      const row = report.cells.find((one) => one.file === file);
      assert.equal(row.label, corrected);
      assert.equal(typeof row.granularity, "number");
    });
    await check("the drawn example that comes with the page is read", async () => {
      const other = await Page.open(browser, server.origin);
      await other.page.getByRole("button", { name: "Try a drawn example" }).click();
      await other.read(1, PATIENCE);
      assert.match(await other.text(".smear"), /^drawn example\n/);
      await other.close();
    });
    await check("without a network: the corrections are there, another smear is read", async () => {
      await page.kept();
      await page.page.context().setOffline(true);
      await page.page.reload();
      await until(
        async () => new RegExp(`of ${python.neutrophils + 1} `).test(await decision()),
        "the correction is back",
        PATIENCE,
      );
      const other = join(folder, "second");
      await mkdir(other, { recursive: true });
      await cp(second, other, { recursive: true });
      const picture = await readFile(join(other, "cell-001.jpg"));
      await writeFile(join(other, "torn.jpg"), picture.subarray(0, picture.length / 2));
      await writeFile(join(other, "letter.jpg"), "Dear colleague, this is no image.\n");
      await copyFile(join(other, "cell-002.jpg"), join(other, "copy.jpg"));
      await page.drop([other]);
      await page.read(2, PATIENCE);
      await page.show("second");
      await shot("networks-offline");
    });
    await check("without a network an activation map is computed", async () => {
      await page.page.locator(".group .cell").first().click();
      await page.page.keyboard.press("a");
      const words = page.page.locator(".map-words");
      await until(async () => !/Computing|^$/.test(await words.innerText()), "the map", PATIENCE);
      assert.match(await words.innerText(), /fields over the picture|Hardly anything/);
      await page.page.keyboard.press("Escape");
    });
    await check("files that are no images are listed with their reasons", async () => {
      const listed = await page.text("#unreadable-files");
      assert.match(listed, /letter\.jpg: \S+/);
      assert.match(listed, /torn\.jpg: \S+/);
      assert.match(await page.text(".warnings"), /exact copies: 1 images? repeat/);
      return listed.replace(/\s+/g, " ");
    });
    await check("nothing was asked of another host, and nothing was forbidden", () => {
      assert.deepEqual(page.strangers, []);
      const beside = page.troubles.filter((text) => !/ERR_INTERNET_DISCONNECTED/.test(text));
      assert.deepEqual(beside, []);
    });
  } finally {
    await page.close();
    await server.close();
  }
}

/** Hold a report of the browser against Python's of the same smear. */
function compare(report, python) {
  for (const key of [
    "neutrophils",
    "dysplastic",
    "decision",
    "confidence",
    "cutoff",
    "threshold",
  ]) {
    assert.equal(report[key], python[key], key);
  }
  assert.deepEqual(report.warnings, python.warnings);
  assert.deepEqual(report.models, python.models);
  assert.equal(report.cells.length, python.cells.length);
  let most = 0;
  let scores = 0;
  for (const [at, cell] of report.cells.entries()) {
    const known = python.cells[at];
    for (const key of ["file", "label", "dysplastic"]) {
      assert.equal(cell[key], known[key], `${known.file}: ${key}`);
    }
    for (const [name, value] of Object.entries(known.probabilities)) {
      most = Math.max(most, Math.abs(cell.probabilities[name] - value));
    }
    if (known.granularity !== null) {
      scores = Math.max(scores, Math.abs(cell.granularity - known.granularity));
    }
  }
  const told = `probabilities differ by ${most.toFixed(5)} at most, scores by ${scores.toFixed(5)}`;
  assert.ok(most <= TOLERANCE && scores <= TOLERANCE, told);
  return `${report.cells.length} cells, ${told}`;
}
