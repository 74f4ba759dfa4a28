/** The built app with its models: the same answers as Python's, with and without a network. */

import { copyFile, cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import Ajv from "ajv/dist/2020.js";
import { assert, until } from "./checks.mjs";
import { Page } from "./page.mjs";
import { startServer, startWitness } from "./server.mjs";

const SCHEMA = join(import.meta.dirname, "..", "..", "cellnet", "schemas", "smear-report.json");

/** What 8-bit weights may cost a probability of Model 1, and floats a score of DysplasiaNet. */
const TOLERANCE = { probability: 0.01, score: 0.001 };

/** Seconds that a smear, or the first map, may take where other programs are busy too. */
const PATIENCE = 120;

export async function checkNetworks(options) {
  const { checks, browser, folder, shots, smear, second, expected } = options;
  const check = checks.check.bind(checks);
  const server = options.origin
    ? { origin: options.origin, close: () => {} }
    : await startServer(options.dist);
  const witness = await startWitness();
  const python = JSON.parse(await readFile(expected, "utf8"));
  const schema = JSON.parse(await readFile(SCHEMA, "utf8"));
  const validate = new Ajv({ allErrors: true, strict: false }).compile(schema);
  const proxy = { server: witness.address, bypass: `<-loopback>,${new URL(server.origin).host}` };
  const page = await Page.open(browser, server.origin, { proxy });
  const shot = (name) => shots && page.page.screenshot({ path: join(shots, `${name}.png`) });
  const decision = () => page.text(".decision > p");
  const isCorrected = async () =>
    new RegExp(`of ${python.neutrophils + 1} `).test(await decision());
  try {
    await check("the page comes with a strict policy and holds no script in line", async () => {
      const { html, policy } = await page.page.evaluate(async () => {
        const answer = await fetch("./");
        const policy = answer.headers.get("content-security-policy");
        return { html: await answer.text(), policy };
      });
      assert.ok(!/<script(?![^>]*\bsrc=)|<style|\bstyle=|\son[a-z]+=/i.test(html));
      for (const told of [policy, /Content-Security-Policy"\s+content="([^"]+)"/.exec(html)?.[1]]) {
        assert.match(told, /default-src 'none'/);
        assert.match(told, /script-src 'self' 'wasm-unsafe-eval';/);
        assert.match(told, /connect-src 'self';/);
      }
    });
    await check("the policy is in force: no script in line, no other host", async () => {
      const other = await Page.open(browser, server.origin, { proxy });
      const seen = await other.page.evaluate(async () => {
        const script = document.createElement("script");
        script.textContent = "globalThis.isRun = true";
        document.body.append(script);
        const answer = await fetch("http://elsewhere.invalid/").catch(() => "refused");
        return { isRun: "isRun" in globalThis, answer };
      });
      assert.deepEqual(seen, { isRun: false, answer: "refused" });
      assert.ok(other.troubles.some((text) => /Content Security Policy/.test(text)));
      await other.close();
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
    await check("labels, counts, decision and probabilities are Python's", async () => {
      const report = JSON.parse((await page.saved("Save JSON")).text);
      return compare(report, python);
    });
    await check("both activation maps are computed", async () => {
      await page.page.locator(".group .cell").first().click();
      await page.page.keyboard.press("a");
      const question = page.page.locator("dialog[open]").getByRole("combobox");
      for (const key of ["granularity", "neutrophil"]) {
        await question.selectOption(key);
        await mapped(page);
        await shot(`networks-map-${key}`);
      }
      await page.page.keyboard.press("Escape");
    });
    await check("a correction recomputes, and what is saved holds it", async () => {
      const cell = page.page.locator(".group.lymphocyte .cell").first();
      const file = await cell.getAttribute("data-file");
      await cell.focus();
      await page.page.keyboard.press("n");
      await until(isCorrected, "one neutrophil more", PATIENCE);
      const report = JSON.parse((await page.saved("Save JSON")).text);
      assert.ok(validate(report), JSON.stringify(validate.errors));
      const corrected = "neutrophil";
      assert.deepEqual(report.corrections, [{ file, label: "lymphocyte", corrected }]);
      const row = report.cells.find((one) => one.file === file);
      assert.equal(row.label, corrected);
      assert.equal(typeof row.granularity, "number");
      const table = (await page.saved("Save CSV")).text;
      assert.equal(table.trimEnd().split("\n").length, 1 + python.cells.length);
      assert.ok(table.includes(`\n${file},neutrophil,`));
    });
    await check("the drawn example that comes with the page is read", async () => {
      const other = await Page.open(browser, server.origin, { proxy });
      await other.page.getByRole("button", { name: "Try a drawn example" }).click();
      await other.read(1, PATIENCE);
      assert.match(await other.text(".smear"), /^drawn example\n/);
      await other.close();
    });
    await check("without a network: the corrections are there, another smear is read", async () => {
      await page.kept();
      await page.page.context().setOffline(true);
      await page.page.reload();
      await until(isCorrected, "the correction is back");
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
      await mapped(page);
      await page.page.keyboard.press("Escape");
    });
    await check("without a network the models' cards say where they fail", async () => {
      const card = page.page.getByRole("button", { name: "What it was trained on" });
      for (const nth of [0, 1]) {
        await card.nth(nth).click();
        const text = page.page.locator("dialog[open] pre");
        await until(async () => /Intended use/.test(await text.innerText()), "the card");
        await page.page.keyboard.press("Escape");
      }
    });
    await check("files that are no images are listed with their reasons", async () => {
      const listed = await page.text("#unreadable-files");
      assert.match(listed, /letter\.jpg: \S+/);
      assert.match(listed, /torn\.jpg: \S+/);
      assert.match(await page.text(".warnings"), /exact copies: .*copy\.jpg = cell-002\.jpg/);
      return listed.replace(/\s+/g, " ");
    });
    await check("nothing was asked of another host, and nothing was forbidden", () => {
      assert.deepEqual(witness.asked, []);
      assert.deepEqual(page.strangers, []);
      const beside = page.troubles.filter((text) => !/ERR_INTERNET_DISCONNECTED/.test(text));
      assert.deepEqual(beside, []);
    });
    await check("had another host been asked, it would be known", async () => {
      const context = await browser.newContext({ proxy });
      const other = await context.newPage();
      await other.goto("http://elsewhere.invalid/").catch(() => {});
      await context.close();
      assert.ok(witness.asked.some((asked) => asked.includes("elsewhere.invalid")));
    });
  } finally {
    await page.close();
    await witness.close();
    await server.close();
  }
}

/** Wait for the map of the open cell. */
async function mapped(page) {
  const words = page.page.locator(".map-words");
  const isThere = async () => !/Computing|^$/.test(await words.innerText());
  await until(isThere, "the map", PATIENCE);
  assert.match(await words.innerText(), /fields over the picture|Hardly anything/);
}

/** Hold a report of the browser against Python's of the same smear. */
function compare(report, python) {
  for (const key of [
    "differential",
    "neutrophils",
    "dysplastic",
    "dysplastic_fraction",
    "decision",
    "confidence",
    "cutoff",
    "threshold",
    "warnings",
    "models",
  ]) {
    assert.deepEqual(report[key], python[key], key);
  }
  for (const [end, known] of python.dysplastic_fraction_ci95.entries()) {
    assert.ok(Math.abs(report.dysplastic_fraction_ci95[end] - known) < 1e-9, "interval");
  }
  assert.equal(report.cells.length, python.cells.length);
  let probabilities = 0;
  let scores = 0;
  for (const [at, cell] of report.cells.entries()) {
    const known = python.cells[at];
    for (const key of ["file", "label", "dysplastic"]) {
      assert.equal(cell[key], known[key], `${known.file}: ${key}`);
    }
    for (const [name, value] of Object.entries(known.probabilities)) {
      probabilities = Math.max(probabilities, Math.abs(cell.probabilities[name] - value));
    }
    assert.equal(cell.granularity === null, known.granularity === null, known.file);
    if (known.granularity !== null) {
      scores = Math.max(scores, Math.abs(cell.granularity - known.granularity));
    }
  }
  const told =
    `probabilities differ by ${probabilities.toPrecision(2)} at most, ` +
    `scores by ${scores.toPrecision(2)}`;
  assert.ok(probabilities <= TOLERANCE.probability && scores <= TOLERANCE.score, told);
  return `${report.cells.length} cells, ${told}`;
}
