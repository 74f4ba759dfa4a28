/**
 * The page with a stand-in for the networks: all that a user can do, in seconds instead of minutes.
 * Answers are made from the files' names (see `tests/fake/reader.ts`).
 */

import { createHash } from "node:crypto";
import { copyFile, cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { build } from "vite";
import { assert, until } from "./checks.mjs";
import { Page } from "./page.mjs";
import { startServer } from "./server.mjs";
import { checkSharing } from "./sharing.mjs";

const CONFIG = join(import.meta.dirname, "..", "tests", "fake", "vite.config.ts");

/** A name that would be a script, were it not taken as text. */
const FOREIGN = "lymphocyte_<img src=x onerror=alert(1)>&amp;\u202e.jpg";

const DYSPLASTIC = ["0.0003", "0.012", "0.3", "0.88", "0.969", "0.97"];
const NORMAL = ["0.979", "0.991", "0.9986", "0.9999", "1.0"];

export async function checkPage({ checks, browser, folder, pictures, shots }) {
  const dist = join(folder, "stand-in");
  await build({
    configFile: CONFIG,
    logLevel: "warn",
    build: { outDir: dist, emptyOutDir: true },
  });
  await writeIntegrity(dist);
  const smears = await makeSmears(folder, pictures);
  const server = await startServer(dist);
  const options = { checks, browser, server, smears, shots, dist, folder };
  try {
    await reading(options);
    await correcting(options);
    await looking(options);
    await stopping(options);
    await many(options);
    await failing(options);
    await updating(options);
    await looks(options);
    await printing(options);
    await byKeyboard(options);
    await checkSharing(options);
  } finally {
    await server.close();
  }
}

async function reading({ checks, browser, server, smears }) {
  const { check } = bound(checks);
  const page = await Page.open(browser, server.origin);
  await check("the page says what it is for, and that it is for research", async () => {
    assert.equal(await page.text("h1"), "Read a blood smear");
    assert.match(await page.text(".research"), /no diagnosis/);
    await until(async () => /Stand-in/.test(await page.text(".engine")), "the engine is named");
  });
  await check("a dropped folder is read, its sub-folders as smears", async () => {
    await page.drop([smears]);
    await page.read(3);
    const glances = (await page.texts(".smear")).map((text) => text.split("\n").slice(0, 2));
    assert.deepEqual(glances, [
      ["few", "Indeterminate"],
      ["healthy", "No dysplasia borderline"],
      ["suspected", "MDS suspected borderline"],
    ]);
  });
  await check(
    "the decision stands with its share, interval, threshold and WHO's line",
    async () => {
      await page.show("suspected");
      assert.equal(await page.text(".verdict strong"), "MDS suspected");
      assert.match(await page.text(".decision"), /6 of 21 neutrophils \(28\.6.%\) dysplastic/);
      const label = await page.page.locator(".scale").getAttribute("aria-label");
      assert.match(
        label,
        /28\.6 %, 95 % interval 11\.3 % to 52\.2 %, threshold 11\.5 %, WHO line 10/,
      );
      assert.match(await page.said(), /MDS suspected, borderline: 6 of 21/);
    },
  );
  await check("it says why nothing is decided of a few neutrophils", async () => {
    await page.show("few");
    assert.match(await page.text(".decision"), /a decision needs 10/);
    assert.match(await page.text(".decision"), /7 more neutrophils would be needed/);
    await page.show("suspected");
  });
  await check("cells stand by class, dysplastic first, the least certain first", async () => {
    const names = (await page.texts(".group > summary")).map((text) => text.replace(/\s+/g, " "));
    assert.deepEqual(names.slice(0, 3), [
      "Dysplastic neutrophils 6",
      "Normal neutrophils 15",
      "Other 1",
    ]);
    const scores = await page.texts(".group.dysplastic .score b");
    assert.equal(scores[0], "0.970");
  });
  await check(
    "what cannot be read is listed with its reason, and so is what was passed over",
    async () => {
      assert.match(
        await page.text("#unreadable-files"),
        /broken_1\.jpg: the JPEG data are damaged/,
      );
      assert.match(await page.text("#passed-over-files"), /notes\.txt: not named like an image/);
      assert.match(await page.text(".warnings"), /passed over: 1 entry/);
    },
  );
  await check("a file's name is text, whatever is in it", async () => {
    assert.equal(await page.page.locator("main img[src=x]").count(), 0);
    const shown = await page.page.locator(".cell .file").allTextContents();
    assert.ok(shown.some((text) => text.includes("<img src=x onerror=alert(1)>&amp;\ufffd.jpg")));
  });
  await check("nothing was asked of another host, and nothing was forbidden", async () => {
    assert.deepEqual(page.strangers, []);
    assert.deepEqual(page.troubles, []);
  });
  await page.close();
}

async function correcting({ checks, browser, server, smears }) {
  const { check } = bound(checks);
  const page = await Page.open(browser, server.origin);
  const { keyboard } = page.page;
  const focused = () => page.page.evaluate(() => document.activeElement?.dataset.file ?? "");
  await page.choose(join(smears, "suspected"));
  await page.read(1);
  const decision = () => page.text(".decision > p");
  await check("the tab key leads to the cells, arrows lead through them", async () => {
    let steps = 0;
    while (!(await focused()) && steps < 60) {
      await keyboard.press("Tab");
      steps += 1;
    }
    const first = await focused();
    assert.match(first, /neutrophil-0\.97_/);
    await keyboard.press("ArrowRight");
    assert.notEqual(await focused(), first);
    await keyboard.press("ArrowLeft");
    assert.equal(await focused(), first);
    await keyboard.press("ArrowDown");
    assert.match(await focused(), /neutrophil-(0\.9[79]|1\.0)/);
    await keyboard.press("ArrowUp");
    await keyboard.press("End");
    const last = page.page.locator(".group.dysplastic .cell").last();
    assert.equal(await focused(), await last.getAttribute("data-file"));
    await keyboard.press("Home");
    assert.equal(await focused(), first);
  });
  await check(
    "a letter calls a cell something else; all counts follow and it is marked",
    async () => {
      assert.match(await decision(), /6 of 21/);
      const before = await focused();
      await keyboard.press("l");
      await until(async () => /5 of 20/.test(await decision()), "counts follow");
      assert.match(await page.said(), /is lymphocyte now\. MDS suspected/);
      assert.equal(await page.page.locator(".cell.corrected").count(), 1);
      assert.match(await page.text(".beside"), /before your corrections: MDS suspected, 6 of 21/);
      await until(
        async () => ![before, ""].includes(await focused()),
        "the next cell has the focus",
      );
    },
  );
  await check("undo takes it back and returns to the cell", async () => {
    await keyboard.press("u");
    await until(async () => /6 of 21/.test(await decision()), "counts are back");
    await until(async () => /neutrophil-0\.97_/.test(await focused()), "the cell has the focus");
    assert.equal(await page.page.locator(".cell.corrected").count(), 0);
  });
  await check("a cell opens large, with probabilities and score; keys work there too", async () => {
    await keyboard.press("Enter");
    const dialog = page.page.locator("dialog[open]");
    await dialog.waitFor();
    assert.equal(await dialog.locator(".name-row .number").count(), 8);
    assert.match(await dialog.innerText(), /Granularity 0\.970 cut-off 0\.971931/);
    assert.ok(await page.page.evaluate(() => document.activeElement?.closest("dialog") !== null));
    const title = await dialog.locator("h2").innerText();
    await keyboard.press("ArrowRight");
    assert.notEqual(await dialog.locator("h2").innerText(), title);
    await keyboard.press("ArrowLeft");
    await keyboard.press("m");
    await until(async () => /corrected, was neutrophil/.test(await dialog.innerText()), "marked");
    await keyboard.press("Control+z");
    await until(async () => !/corrected/.test(await dialog.innerText()), "undone");
  });
  await check("the activation map says what it shows", async () => {
    const dialog = page.page.locator("dialog[open]");
    await keyboard.press("a");
    await until(async () => /speaks for dysplastic/.test(await dialog.innerText()), "words");
    assert.equal(await dialog.locator("canvas.overlay").count(), 1);
    await dialog.getByRole("combobox").selectOption("monocyte");
    await until(async () => /speaks for monocyte/.test(await dialog.innerText()), "other words");
    await dialog.getByRole("combobox").selectOption("granularity");
    await page.page.locator("dialog[open] h2").focus();
  });
  await check("the tab key stays in the dialog, Esc closes it and the focus returns", async () => {
    for (let steps = 0; steps < 30; steps += 1) {
      await keyboard.press("Tab");
      const isInside = await page.page.evaluate(
        () =>
          document.activeElement === document.body || !!document.activeElement?.closest("dialog"),
      );
      assert.ok(isInside);
    }
    await keyboard.press("Escape");
    assert.equal(await page.page.locator("dialog[open]").count(), 0);
    await until(async () => /neutrophil-0\.97_/.test(await focused()), "the cell has the focus");
  });
  await check("? shows the keys", async () => {
    await keyboard.press("?");
    assert.match(await page.text("dialog[open]"), /Immature granulocytes/);
    await keyboard.press("Escape");
  });
  await check("a cell that a person calls neutrophil is scored and counts", async () => {
    await page.page.locator(".group.monocyte .cell").first().focus();
    await keyboard.press("n");
    await until(async () => /7 of 22/.test(await decision()), "it counts as dysplastic");
    assert.match(await page.text(".corrections"), /monocyte → neutrophil/);
  });
  await check("sliders say what would change, know the fitted value, and go back", async () => {
    await page.page.locator(".trial > summary").click();
    const cutoff = page.page.getByRole("slider", { name: "Cell cut-off" });
    assert.match(await cutoff.getAttribute("aria-valuetext"), /0\.971931, the fitted value/);
    await cutoff.focus();
    await keyboard.press("?");
    await page.page.locator("dialog.keys").waitFor();
    await keyboard.press("Escape");
    for (let step = 0; step < 5; step += 1) await keyboard.press("PageUp");
    await until(
      async () => /more neutrophils would be/.test(await page.text(".consequence")),
      "words",
    );
    assert.match(await page.text(".verdict"), /trial values/);
    const threshold = page.page.getByRole("slider", { name: "Smear threshold" });
    await threshold.focus();
    await keyboard.press("End");
    await until(
      async () => /change from MDS suspected to No dysplasia/.test(await page.text(".consequence")),
      "the decision changes",
    );
    const { name, text } = await page.saved("Save JSON");
    assert.equal(name, "suspected.trial.json");
    assert.match(
      JSON.parse(text).warnings.at(-1),
      /smear threshold 100\.0 % by hand; the fitted .* give MDS suspected/,
    );
    assert.equal((await page.saved("Save CSV")).name, "suspected.trial.csv");
    await page.page.locator(".trial").getByRole("button", { name: "Back to the fitted" }).click();
    await until(async () => /fitted values/.test(await page.text(".consequence")), "fitted again");
    assert.equal(await page.text(".verdict strong"), "MDS suspected");
    assert.match(await cutoff.getAttribute("aria-valuetext"), /the fitted value/);
  });
  await check("the table holds every cell", async () => {
    const { name, text } = await page.saved("Save CSV");
    assert.equal(name, "suspected.csv");
    const rows = text.trimEnd().split("\n");
    assert.match(rows[0], /^file,label,probability,basophil,.*,corrected_from$/);
    const marked = rows.filter((row) => /,monocyte$/.test(row));
    assert.match(marked.join(), /^monocyte_1\.jpg,neutrophil,0\.0\d*,/);
    assert.equal(rows.length - 1, await page.page.locator(".cell").count());
  });
  await check("all corrections undone are a step that can be undone", async () => {
    await page.page.getByRole("button", { name: "Undo all" }).click();
    await until(async () => /6 of 21/.test(await decision()), "undone");
    await page.page.getByRole("button", { name: "Undo last" }).click();
    await until(async () => /7 of 22/.test(await decision()), "back");
    assert.match(await page.text(".corrections"), /monocyte → neutrophil/);
  });
  await check(
    "corrections, cells and pictures survive a reload, and so does their undo",
    async () => {
      await page.page.reload();
      await page.read(1);
      assert.match(await page.text(".decision > p"), /7 of 22/);
      const width = await page.page
        .locator(".cell img")
        .first()
        .evaluate(async (image) => {
          await image.decode();
          return image.naturalWidth;
        });
      assert.ok(width > 0);
      await keyboard.press("Control+z");
      await until(async () => /6 of 21/.test(await decision()), "undone");
      // A browser writes to its database in its own time.
      await page.page.waitForTimeout(1000);
      await page.page.reload();
      await page.read(1);
      assert.match(await page.text(".decision > p"), /6 of 21/);
    },
  );
  await check("clearing forgets everything", async () => {
    await page.page.getByRole("button", { name: /Clear everything from/ }).click();
    await page.page.getByRole("button", { name: "Clear everything", exact: true }).click();
    await until(async () => (await page.text("h1")) === "Read a blood smear", "the first page");
    await page.page.reload();
    await until(async () => /Stand-in/.test(await page.text(".engine")), "the models");
    assert.equal(await page.text("h1"), "Read a blood smear");
  });
  assert.deepEqual(page.troubles, []);
  await page.close();
}

/** Landmarks, contrast, names: at both ends of the sizes, in both colours. */
async function looking({ checks, browser, server, smears, shots }) {
  const { check } = bound(checks);
  for (const width of [360, 1920]) {
    for (const colorScheme of ["light", "dark"]) {
      const viewport = { width, height: width > 1000 ? 1080 : 740 };
      const page = await Page.open(browser, server.origin, { viewport, colorScheme });
      const shot = (name) =>
        shots && page.page.screenshot({ path: join(shots, `${name}-${width}-${colorScheme}.png`) });
      await check(`axe finds nothing serious at ${width} px, ${colorScheme}`, async () => {
        await until(async () => /Stand-in/.test(await page.text(".engine")), "the models");
        await page.axe();
        await shot("start");
        await page.drop([smears]);
        await page.read(3);
        await page.show("suspected");
        await page.page.locator(".trial > summary").click();
        await page.axe();
        await shot("result");
        await page.page.locator(".cell.dysplastic").first().click();
        await page.page.keyboard.press("l");
        await page.page.keyboard.press("a");
        await page.page.locator("canvas.overlay").waitFor();
        await page.axe();
        await shot("cell");
        await page.page.keyboard.press("Escape");
        await page.axe();
        await page.page.keyboard.press("?");
        await page.axe();
        await page.page.keyboard.press("Escape");
      });
      await check(`nothing runs over the side at ${width} px, ${colorScheme}`, async () => {
        const over = await page.page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        assert.ok(over <= 0, `${over} pixels`);
      });
      await page.close();
    }
  }
}

async function stopping({ checks, browser, server, smears }) {
  const { check } = bound(checks);
  const page = await Page.open(browser, server.origin, { hash: "#slow" });
  await check("reading can be cancelled, gives no decision of a part, and goes on", async () => {
    await page.choose(join(smears, "suspected"));
    await until(async () => /^[3-9] of/m.test(await page.text(".smear")), "three images");
    await page.page.getByRole("button", { name: "Cancel" }).click();
    await until(async () => /stopped at/.test(await page.text(".smear")), "stopped");
    assert.equal(await page.text(".verdict strong"), "Stopped");
    assert.match(await page.text(".decision"), /A part of a smear gives no decision/);
    await page.page.locator("main").getByRole("button", { name: "Go on reading" }).click();
    await page.read(1);
    assert.match(await page.text(".decision > p"), /6 of 21/);
  });
  await check("a reload in the middle costs no image, and reading goes on when asked", async () => {
    await page.choose(join(smears, "healthy"));
    await until(async () => (await page.page.locator(".smear.reading").count()) > 0, "reading");
    await page.page.reload();
    await until(async () => (await page.page.locator(".smear").count()) === 2, "both are back");
    await page.page.locator("nav").getByRole("button", { name: "Go on reading" }).click();
    await page.read(2);
    assert.match((await page.texts(".smear")).join(), /healthy\nNo dysplasia/);
  });
  await page.close();
}

/** Two thousand cells: how long the page leaves a user waiting. */
async function many({ checks, browser, server, folder, smears }) {
  const { check } = bound(checks);
  const large = join(folder, "large");
  await mkdir(large, { recursive: true });
  const names = await readdir(join(smears, "healthy"));
  for (let at = 0; at < 2000; at += 1) {
    const name = names[at % names.length];
    await copyFile(join(smears, "healthy", name), join(large, `${name.slice(0, -4)}_${at}.jpg`));
  }
  const page = await Page.open(browser, server.origin);
  await page.page.evaluate(() => {
    globalThis.pauses = [];
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) globalThis.pauses.push(entry.duration);
    }).observe({ type: "longtask" });
  });
  await check("2,000 cells: a correction and a slider are answered at once", async () => {
    await page.choose(large);
    await page.read(1, 400);
    const cell = page.page.locator(".group.neutrophil .cell").first();
    await cell.focus();
    const timed = (action) => page.page.evaluate(action);
    const correction = await timed(async () => {
      const start = performance.now();
      const options = { key: "l", bubbles: true };
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", options));
      while (!document.querySelector(".cell.corrected")) await new Promise(requestAnimationFrame);
      return performance.now() - start;
    });
    await page.page.locator(".trial > summary").click();
    const slider = await timed(async () => {
      const input = document.querySelector("#cutoff");
      const start = performance.now();
      input.value = "990";
      input.dispatchEvent(new Event("input", { bubbles: true }));
      while (!document.querySelector(".trial-note")) await new Promise(requestAnimationFrame);
      return performance.now() - start;
    });
    const longest = Math.max(0, ...(await page.page.evaluate(() => globalThis.pauses)));
    assert.ok(correction < 2500 && slider < 4000, `${correction} and ${slider} ms`);
    return (
      `${Math.round(correction)} ms for a correction, ${Math.round(slider)} ms for a slider that ` +
      `moves all cells, longest pause ${Math.round(longest)} ms`
    );
  });
  await page.close();
}

async function failing({ checks, browser, server }) {
  const { check } = bound(checks);
  const page = await Page.open(browser, server.origin, { hash: "#broken" });
  await check("models that do not come are told of, with what to do", async () => {
    const alert = page.page.getByRole("alert");
    await alert.waitFor();
    assert.match(await alert.innerText(), /404; run `make export`/);
    assert.match(await alert.innerText(), /What to do/);
    await page.page.evaluate(() => {
      location.hash = "";
    });
    await alert.getByRole("button", { name: "Try again" }).click();
    await until(async () => /Stand-in/.test(await page.text(".engine")), "the models");
    assert.equal(await alert.count(), 0);
  });
  await page.close();
}

async function updating({ checks, browser, server, smears, dist, folder }) {
  const { check } = bound(checks);
  const newer = join(folder, "newer");
  await cp(dist, newer, { recursive: true });
  const html = await readFile(join(newer, "index.html"), "utf8");
  await writeFile(
    join(newer, "index.html"),
    html.replace("<title>cellnet", "<title>newer cellnet"),
  );
  const page = await Page.open(browser, server.origin);
  const title = () => page.page.title();
  await page.controlled();
  await check("without a network the page opens and reads", async () => {
    await page.page.context().setOffline(true);
    await page.page.reload();
    await page.drop([join(smears, "healthy")]);
    await page.read(1);
    assert.equal(await page.text(".verdict strong"), "No dysplasia");
    await page.page.context().setOffline(false);
  });
  await check("what differs from the list of files is not taken", async () => {
    server.serve(newer);
    // The list is of the version before.
    await page.page.reload();
    await page.page.waitForTimeout(1000);
    assert.equal(await title(), "cellnet");
    const list = JSON.parse(await readFile(join(newer, "integrity.json"), "utf8"));
    list.files[0].sha256 = "0".repeat(64);
    await writeFile(join(newer, "integrity.json"), JSON.stringify(list));
    await page.page.reload();
    await page.page.waitForTimeout(2000);
    assert.equal(await page.page.getByText("A newer version").count(), 0);
    assert.equal(await title(), "cellnet");
  });
  await check("a newer version waits to be asked for, and then takes over", async () => {
    await writeIntegrity(newer);
    await page.page.reload();
    await page.page.getByText("A newer version of this page is ready").waitFor();
    assert.equal(await title(), "cellnet");
    await page.page.getByRole("button", { name: "Use it now" }).click();
    await until(async () => (await title()) === "newer cellnet", "the newer page");
    await page.read(1);
    const caches_ = await page.page.evaluate(async () => (await caches.keys()).length);
    assert.equal(caches_, 1);
  });
  server.serve(dist);
  await page.close();
}

async function looks({ checks, browser, server, smears }) {
  const { check } = bound(checks);
  const page = await Page.open(browser, server.origin, { reducedMotion: "reduce" });
  await page.choose(join(smears, "suspected"));
  await page.read(1);
  await check("nothing moves where less motion is asked for", async () => {
    const moving = await page.page.evaluate(
      () =>
        [...document.querySelectorAll("*")].filter(
          (element) => getComputedStyle(element).transitionDuration !== "0s",
        ).length,
    );
    assert.equal(moving, 0);
  });
  await check("on paper stand the report and the warning, and no button", async () => {
    await page.page.emulateMedia({ media: "print" });
    assert.ok(await page.page.locator(".research").isVisible());
    assert.ok(await page.page.locator(".verdict strong").isVisible());
    assert.equal(await page.page.locator("button:not(.cell):visible").count(), 0);
    assert.equal(await page.page.locator("nav:visible").count(), 0);
    const blank = await page.page
      .locator(".cell img")
      .evaluateAll((images) => images.filter((image) => !image.complete).length);
    assert.equal(blank, 0);
  });
  await page.close();
}

async function printing({ checks, browser, server, smears, shots }) {
  const { check } = bound(checks);
  const page = await Page.open(browser, server.origin);
  await page.page.evaluate(() => {
    globalThis.print = () => {
      const images = [...document.querySelectorAll(".cell img")];
      const isThere = images.filter((image) => image.complete && image.naturalWidth > 0).length;
      globalThis.printed = { cells: document.querySelectorAll(".cell").length, isThere };
    };
  });
  await page.choose(join(smears, "suspected"));
  await page.read(1);
  await check("what is printed holds every cell and its picture", async () => {
    await page.page.getByRole("button", { name: "Print" }).click();
    const printed = await until(
      () => page.page.evaluate(() => globalThis.printed ?? null),
      "the browser is asked to print",
    );
    const { length } = JSON.parse((await page.saved("Save JSON")).text).cells;
    assert.deepEqual(printed, { cells: length, isThere: length });
    const day = await page.page.evaluate(() => new Date().toLocaleDateString("sv"));
    assert.match(await page.text(".head .soft"), new RegExp(`cells read on ${day}, 1 unreadable`));
    // Of A4: the browser's own answer, in which a page that runs over would be cut.
    const paper = await page.page.pdf({ format: "A4" });
    const pages = paper.toString("latin1").match(/\/Type\s*\/Page\b/g)?.length ?? 0;
    assert.ok(pages >= 1 && pages <= 4, `${pages} pages`);
    return `${length} cells on ${pages} pages`;
  });
  await check("what is folded up is printed too, with the day, and folds up again", async () => {
    await page.page.evaluate(() => {
      globalThis.seen = [];
      addEventListener("beforeprint", () => {
        const groups = [...document.querySelectorAll("details.group")];
        globalThis.seen.push(groups.every(({ open }) => open));
      });
    });
    const folded = () => page.page.locator("details.group:not([open])").count();
    const paper = async () => (await page.page.pdf({ format: "A4" })).length;
    const open = await paper();
    await page.page.locator(".group.dysplastic > summary").click();
    await page.page.locator(".group.lymphocyte > summary").click();
    assert.equal(await folded(), 2);
    // Pictures take nearly all of its bytes.
    const shut = await paper();
    assert.ok(Math.abs(shut - open) < 0.01 * open, `${shut} bytes instead of ${open}`);
    assert.deepEqual(await page.page.evaluate(() => globalThis.seen), [true, true]);
    assert.equal(await folded(), 2);
    const day = await page.page.evaluate(() => new Date().toLocaleDateString("sv"));
    assert.match(
      await page.page.locator(".head .only-print").textContent(),
      new RegExp(`printed ${day}$`),
    );
    if (shots) await page.page.pdf({ format: "A4", path: join(shots, "print.pdf") });
  });
  await check("on paper no file's name is cut", async () => {
    await page.page.emulateMedia({ media: "print" });
    const cut = await page.page
      .locator("details[open] .cell .file")
      .evaluateAll((names) => names.filter((it) => it.scrollWidth > it.clientWidth).length);
    assert.equal(cut, 0);
  });
  await page.close();
}

/** From the first page to the saved report and an empty page, without a mouse. */
async function byKeyboard({ checks, browser, server, smears }) {
  const { check } = bound(checks);
  const page = await Page.open(browser, server.origin);
  const { keyboard } = page.page;
  const tabTo = async (name) => {
    for (let steps = 0; steps < 80; steps += 1) {
      await keyboard.press("Tab");
      const label = await page.page.evaluate(() => {
        const { activeElement } = document;
        const outline = activeElement && getComputedStyle(activeElement).outlineStyle;
        return `${activeElement?.textContent?.trim()}${outline === "none" ? ": not seen" : ""}`;
      });
      if (label.startsWith(name)) {
        assert.ok(!label.endsWith(": not seen"), `${name} shows no focus`);
        return;
      }
    }
    throw new Error(`the tab key does not lead to ${name}`);
  };
  await check("with the keyboard alone: choose, read, correct, save, clear", async () => {
    await until(async () => /Stand-in/.test(await page.text(".engine")), "the models");
    const chooser = page.page.waitForEvent("filechooser");
    await tabTo("Choose folder");
    await keyboard.press("Enter");
    await (await chooser).setFiles(join(smears, "suspected"));
    await page.read(1);
    await tabTo("neutrophil, dysplastic");
    await keyboard.press("l");
    await until(async () => /5 of 20/.test(await page.text(".decision > p")), "counts follow");
    const download = page.page.waitForEvent("download");
    await tabTo("Save JSON");
    await keyboard.press("Space");
    const report = JSON.parse(await readFile(await (await download).path(), "utf8"));
    assert.equal(report.corrections.length, 1);
    await tabTo("Undo last");
    await keyboard.press("Enter");
    await until(async () => /6 of 21/.test(await page.text(".decision > p")), "undone");
    await until(
      () => page.page.evaluate(() => document.activeElement?.matches("main h1")),
      "the focus is on the result's heading",
    );
    await tabTo("neutrophil, dysplastic");
    await keyboard.press("l");
    await until(async () => /5 of 20/.test(await page.text(".decision > p")), "counts follow");
    await tabTo("Remove smear");
    await keyboard.press("u");
    await until(async () => /6 of 21/.test(await page.text(".decision > p")), "u undoes here too");
    await tabTo("Clear everything");
    await keyboard.press("Enter");
    await tabTo("Clear everything");
    await keyboard.press("Enter");
    await until(async () => (await page.text("h1")) === "Read a blood smear", "the first page");
  });
  await page.close();
}

function bound(checks) {
  return { check: checks.check.bind(checks) };
}

/** Three smears of drawn cells, named so that the stand-in knows its answer. */
async function makeSmears(folder, pictures) {
  const cells = (await readdir(pictures)).filter((name) => name.endsWith(".jpg")).sort();
  const root = join(folder, "smears");
  let next = 0;
  const put = async (smear, name) => {
    await mkdir(join(root, smear), { recursive: true });
    next += 1;
    await copyFile(join(pictures, cells[next % cells.length]), join(root, smear, name));
  };
  const number = (at) => String(at).padStart(3, "0");
  for (let at = 0; at < 21; at += 1) {
    const score = DYSPLASTIC[at] ?? NORMAL[at % NORMAL.length];
    await put("suspected", `neutrophil-${score}_${number(at)}.jpg`);
    await put("healthy", `neutrophil-${NORMAL[at % NORMAL.length]}_${number(at)}.jpg`);
  }
  for (let at = 0; at < 20; at += 1) {
    for (const smear of ["suspected", "healthy"]) await put(smear, `lymphocyte_${number(at)}.jpg`);
  }
  for (const name of [
    "monocyte_1.jpg",
    "basophil_1.jpg",
    "unknown_1.jpg",
    "broken_1.jpg",
    FOREIGN,
  ]) {
    await put("suspected", name);
  }
  await writeFile(join(root, "suspected", "notes.txt"), "not an image\n");
  for (const name of ["neutrophil-0.9999_1.jpg", "neutrophil-1.0_2.jpg", "neutrophil-0.5_3.jpg"]) {
    await put("few", name);
  }
  return root;
}

/** As `cellnet.integrity` writes it. */
async function writeIntegrity(folder) {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = [];
  for (const entry of entries.filter((one) => one.isFile() && one.name !== "integrity.json")) {
    const file = join(entry.parentPath, entry.name);
    const data = await readFile(file);
    files.push({
      path: file.slice(folder.length + 1).replaceAll("\\", "/"),
      bytes: data.length,
      sha256: createHash("sha256").update(data).digest("hex"),
    });
  }
  files.sort((a, b) => (a.path < b.path ? -1 : 1));
  const list = { schema: "cellnet/integrity/1", files };
  await writeFile(join(folder, "integrity.json"), JSON.stringify(list, null, 2));
}
