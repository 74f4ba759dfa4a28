/** Two tabs over one store, folders that could be meant otherwise, and what is let go of. */

import { copyFile, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { assert, until } from "./checks.mjs";
import { Page } from "./page.mjs";

export async function checkSharing({ checks, browser, server, smears, folder, shots }) {
  await tabs({ checks, browser, server, smears });
  await folders({ checks, browser, server, smears, folder, shots });
  await copies({ checks, browser, server, smears, folder, shots });
  await memory({ checks, browser, server, smears });
}

async function tabs({ checks, browser, server, smears }) {
  const check = checks.check.bind(checks);
  const a = await Page.open(browser, server.origin);
  await a.choose(join(smears, "suspected"));
  await a.read(1);
  const correct = async (tab, group, key) => {
    await tab.page.locator(`.group.${group} .cell:not(.corrected)`).first().focus();
    await tab.page.keyboard.press(key);
  };
  const corrections = (tab) => tab.page.locator(".corrections li").count();
  const b = await Page.in(a.page.context(), server.origin);
  await b.read(1);
  await check("corrections of two tabs stay, whoever comes last", async () => {
    await correct(a, "monocyte", "l");
    await until(async () => (await corrections(b)) === 1, "the second tab takes it over");
    await correct(b, "basophil", "l");
    await until(async () => (await corrections(a)) === 2, "the first tab takes it over");
    await correct(a, "dysplastic", "l");
    await until(async () => (await corrections(b)) === 3, "both have all");
    await b.page.keyboard.press("Control+z");
    await until(async () => (await corrections(a)) === 2, "undone in both");
    await b.page.keyboard.press("Control+z");
    await correct(b, "basophil", "m");
    await until(async () => (await corrections(a)) === 2, "again two");
    await a.page.waitForTimeout(1000);
    await a.page.reload();
    await a.read(1);
    const kept = (await a.text(".corrections ul")).split("\n").map((line) => line.split(": ")[1]);
    assert.deepEqual(kept, ["basophil → monocyte", "monocyte → lymphocyte"]);
  });
  await check("a smear that is added or removed in one tab is so in the other", async () => {
    await b.choose(join(smears, "few"));
    await b.read(2);
    await a.read(2);
    await b.page.getByRole("button", { name: "Remove smear" }).click();
    await b.page.locator("dialog").getByRole("button", { name: "Remove smear" }).click();
    await until(async () => (await a.page.locator(".smear").count()) === 1, "removed");
    assert.match(await a.text(".banners"), /few was removed in another tab/);
  });
  await check("what one tab clears is gone in the other, which says so", async () => {
    await b.page.getByRole("button", { name: /Clear everything from/ }).click();
    await b.page.getByRole("button", { name: "Clear everything", exact: true }).click();
    await until(async () => (await a.text("h1")) === "Read a blood smear", "the first page");
    assert.match(await a.text(".banners"), /Everything was cleared in another tab/);
  });
  assert.deepEqual([...a.troubles, ...b.troubles], []);
  await a.close();
}

async function folders({ checks, browser, server, smears, folder, shots }) {
  const check = checks.check.bind(checks);
  const root = join(folder, "folders");
  const put = async (path) => {
    await mkdir(join(root, path, ".."), { recursive: true });
    await copyFile(join(smears, "few", "neutrophil-0.5_3.jpg"), join(root, path));
  };
  for (const path of [
    "fields/field1/neutrophil-0.5_1.jpg",
    "fields/field2/neutrophil-0.9_1.jpg",
    "ward/lymphocyte_1.jpg",
    "ward/patient 1/neutrophil-0.5_1.jpg",
    "ward/patient 2/neutrophil-0.9_1.jpg",
  ]) {
    await put(path);
  }
  await mkdir(join(root, "empty"), { recursive: true });
  await writeFile(join(root, "smear.zip"), "PK");
  const page = await Page.open(browser, server.origin);
  const names = async () => (await page.texts(".smear .name")).sort();
  const press = (told, name) =>
    page.page.locator(".banner", { hasText: told }).getByRole("button", { name }).click();
  await check("a folder of folders says that it became smears, and can be one", async () => {
    await page.drop([join(root, "fields")]);
    await page.read(2);
    assert.match(
      await page.text(".banners"),
      /fields was read as 2 smears, one for each folder\.\s+Read as one smear/,
    );
    await page.page.locator(".cell").first().focus();
    await page.page.keyboard.press("e");
    await press("fields was", "Read as one smear");
    await page.read(1);
    await until(
      () => page.page.evaluate(() => document.activeElement?.matches("main h1")),
      "the focus is on the heading",
    );
    assert.deepEqual(await names(), ["fields"]);
    assert.match(await page.text("main"), /2 cells read/);
    assert.match(
      await page.text(".corrections"),
      /field1\/neutrophil-0\.5_1\.jpg: neutrophil → eosinophil/,
    );
  });
  await check("images beside folders are told of, and can be smears of their own", async () => {
    await page.drop([join(root, "ward")]);
    await page.read(2);
    assert.match(
      await page.text(".banners"),
      /ward was read as one smear: 1 image in it, and 2 folders \(patient 1, patient 2\)\./,
    );
    if (shots) await page.page.screenshot({ path: join(shots, "offers.png") });
    await page.axe();
    await press("ward was", "Read each folder as a smear");
    await page.read(4);
    assert.deepEqual(await names(), ["fields", "patient 1", "patient 2", "ward"]);
    await page.page.reload();
    await page.read(4);
    assert.deepEqual(await names(), ["fields", "patient 1", "patient 2", "ward"]);
  });
  await check("what a drop does otherwise than its names say is told", async () => {
    await page.drop([join(smears, "few")]);
    await page.read(5);
    await page.drop([join(smears, "few")]);
    await page.read(6);
    assert.match(
      await page.text(".banners"),
      /Smears of these names were there already: few is called few \(2\)\./,
    );
    await page.drop([join(root, "smear.zip")]);
    await until(
      async () => /smear\.zip is packed: unpack it first/.test(await page.text(".banners")),
      "packed files are told of",
    );
    await page.choose(join(root, "empty"));
    await until(
      async () => /No folder was taken in/.test(await page.text(".banners")),
      "an empty folder is told of",
    );
  });
  assert.deepEqual(page.troubles, []);
  await page.close();
}

async function copies({ checks, browser, server, smears, folder, shots }) {
  const check = checks.check.bind(checks);
  const twins = join(folder, "twins");
  await mkdir(twins, { recursive: true });
  for (let at = 0; at < 12; at += 1) {
    const name = `neutrophil-0.5_${at > 6 ? "twin" : ""}${at}.jpg`;
    await copyFile(join(smears, "few", "neutrophil-0.5_3.jpg"), join(twins, name));
  }
  const page = await Page.open(browser, server.origin);
  await check(
    "where images repeat others, the card says that the interval counts them",
    async () => {
      await page.choose(twins);
      await page.read(1);
      const card = (await page.text(".decision")).replaceAll("\u00a0", " ");
      assert.match(card, /without repeated images there are 8/);
      assert.match(card, /2 more neutrophils that repeat no other image would be needed/);
      assert.match(
        card,
        /73\.5 % to 100\.0 %\. Copies counted: 4 images of the smear repeat another/,
      );
      assert.match(card, /exact 95 % interval \(copies counted\)/);
      if (shots) await page.page.screenshot({ path: join(shots, "copies.png") });
    },
  );
  await page.close();
}

async function memory({ checks, browser, server, smears }) {
  const check = checks.check.bind(checks);
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await context.addInitScript(() => {
    const live = new Set();
    globalThis.live = live;
    const { createObjectURL, revokeObjectURL } = URL;
    URL.createObjectURL = (blob) => {
      const address = createObjectURL.call(URL, blob);
      live.add(address);
      return address;
    };
    URL.revokeObjectURL = (address) => {
      live.delete(address);
      revokeObjectURL.call(URL, address);
    };
  });
  const page = await Page.in(context, server.origin);
  const live = () => page.page.evaluate(() => globalThis.live.size);
  await check("pictures are let go of with their smear", async () => {
    await page.choose(join(smears, "healthy"));
    await page.read(1);
    const healthy = (await readdir(join(smears, "healthy"))).length;
    await until(async () => (await live()) === healthy, "a picture for each cell");
    await page.choose(join(smears, "few"));
    await page.read(2);
    await until(async () => (await live()) === healthy + 3, "and for those of the other");
    await page.page.getByRole("button", { name: "Remove smear" }).click();
    await page.page.locator("dialog").getByRole("button", { name: "Remove smear" }).click();
    await until(async () => (await live()) === healthy, "those of the removed one are gone");
    await page.page.getByRole("button", { name: /Clear everything from/ }).click();
    await page.page.getByRole("button", { name: "Clear everything", exact: true }).click();
    await until(async () => (await live()) === 0, "none is left");
    return `${healthy + 3} pictures`;
  });
  await page.close();
}
