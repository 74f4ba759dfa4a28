import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { beforeEach, expect, test, vi } from "vitest";
import type { InputFile, Reading } from "../src/engine/types";
import { CellnetError } from "../src/errors";
import { Store } from "../src/store";

type Kept = {
  id: string;
  name: string;
  files: readonly InputFile[];
  readings: readonly Reading[];
  corrections: ReadonlyMap<string, string>;
};

function reading(file: string, granularity: number | null = null): Reading {
  const look = { height: 9, width: 9, pixels: "0", depth: 1, blueOverGreen: 1, blueOverRed: 1 };
  return {
    file,
    probabilities: [1, 0, 0, 0, 0, 0, 0, 0],
    granularity,
    look: { ...look, background: 1 },
    width: 9,
    height: 9,
  };
}

function smear(id: string, files = ["a.png", "b.png"]): Kept {
  return {
    id,
    name: `smear ${id}`,
    files: files.map((file) => ({ file, blob: new Blob([`${id} ${file}`]) })),
    readings: [],
    corrections: new Map(),
  };
}

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});

/** What a visit after a reload finds. */
const reloaded = () => new Store<Kept>().load();

test("smears come back as they were, in the order of adding", async () => {
  const store = new Store<Kept>();
  await store.add(smear("z"));
  await store.add(smear("a", ["x/y.png"]));
  const found = await reloaded();
  expect(found.map(({ id, name }) => [id, name])).toEqual([
    ["z", "smear z"],
    ["a", "smear a"],
  ]);
  expect(found[1]?.files.map(({ file }) => file)).toEqual(["x/y.png"]);
  expect(await found[0]?.files[1]?.blob.text()).toBe("z b.png");
});

test("readings and corrections come back, the last word of each", async () => {
  const store = new Store<Kept>();
  let one = smear("1");
  await store.add(one);
  one = { ...one, readings: [reading("b.png", 0.25)] };
  await store.update(one);
  one = {
    ...one,
    readings: [...one.readings, reading("a.png")],
    corrections: new Map([["a.png", "ig"]]),
  };
  await store.update(one);
  await store.update({ ...one, corrections: new Map([["a.png", "platelet"]]) });
  const [found] = await reloaded();
  expect(found?.readings.map(({ file, granularity }) => [file, granularity])).toEqual([
    ["a.png", null],
    ["b.png", 0.25],
  ]);
  expect(found?.corrections).toEqual(new Map([["a.png", "platelet"]]));
});

test("what was brought back can be changed", async () => {
  await new Store<Kept>().add({ ...smear("1"), readings: [reading("a.png")] });
  const later = new Store<Kept>();
  const [found] = await later.load();
  await later.update({ ...(found as Kept), name: "renamed" });
  expect((await reloaded())[0]).toMatchObject({ name: "renamed", readings: [{ file: "a.png" }] });
});

test("a smear that was removed is gone with its images, and the others stay", async () => {
  const store = new Store<Kept>();
  await store.add({ ...smear("1"), readings: [reading("a.png")] });
  await store.add({ ...smear("10"), readings: [reading("a.png")] });
  await store.remove("1");
  const found = await reloaded();
  expect(found.map(({ id, files, readings }) => [id, files.length, readings.length])).toEqual([
    ["10", 2, 1],
  ]);
});

test("a change of a smear that was removed does not bring it back", async () => {
  const store = new Store<Kept>();
  await store.add(smear("1"));
  await store.remove("1");
  await store.update({ ...smear("1"), readings: [reading("a.png")] });
  expect(await reloaded()).toEqual([]);
});

test("cleared is cleared", async () => {
  const store = new Store<Kept>();
  await store.add(smear("1"));
  await store.clear();
  expect(await reloaded()).toEqual([]);
});

test("a full disk is told in words, and nothing is kept by half", async () => {
  const store = new Store<Kept>();
  await store.load();
  const put = vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
    throw new DOMException("full", "QuotaExceededError");
  });
  const failure = store.add(smear("1"));
  await expect(failure).rejects.toThrow(CellnetError);
  await expect(failure).rejects.toThrow("no more room on the disk");
  put.mockRestore();
  expect(await reloaded()).toEqual([]);
});

test("a browser that keeps nothing is told of, and asked again the next time", async () => {
  const store = new Store<Kept>();
  const open = vi.spyOn(indexedDB, "open").mockImplementation(() => {
    throw new DOMException("denied", "SecurityError");
  });
  await expect(store.load()).rejects.toThrow("keeps nothing for this page (denied)");
  open.mockRestore();
  await store.add(smear("1"));
  expect(await reloaded()).toHaveLength(1);
});
