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
  await store.update("1", () => ({ readings: one.readings }));
  one = {
    ...one,
    readings: [...one.readings, reading("a.png")],
    corrections: new Map([["a.png", "ig"]]),
  };
  const { readings, corrections } = one;
  await store.update("1", () => ({ readings, corrections }));
  await store.update("1", () => ({ corrections: new Map([["a.png", "platelet"]]) }));
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
  expect(found?.name).toBe("smear 1");
  await later.update("1", ({ name }) => ({ name: `${name}, renamed` }));
  expect((await reloaded())[0]).toMatchObject({
    name: "smear 1, renamed",
    readings: [{ file: "a.png" }],
  });
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

test("a change of a smear that was removed fails, and does not bring it back", async () => {
  const store = new Store<Kept>();
  await store.add(smear("1"));
  await store.remove("1");
  const change = store.update("1", () => ({ readings: [reading("a.png")] }));
  await expect(change).rejects.toThrow(
    "the change cannot be kept: the smear was removed from this computer",
  );
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

test("two tabs change the same smear, and neither loses the other's word", async () => {
  const [one, other] = [new Store<Kept>(), new Store<Kept>()];
  await one.add(smear("1"));
  await other.load();
  const call = (file: string) => (kept: { corrections: ReadonlyMap<string, string> }) => ({
    corrections: new Map([...kept.corrections, [file, "ig"]]),
  });
  await Promise.all([one.update("1", call("a.png")), other.update("1", call("b.png"))]);
  const found = await one.find("1");
  expect([...(found?.corrections.keys() ?? [])].sort()).toEqual(["a.png", "b.png"]);
});

test("other tabs are told what was done, the one that did it is not", async () => {
  const [one, other] = [new Store<Kept>(), new Store<Kept>()];
  const [here, there]: [unknown[], unknown[]] = [[], []];
  one.listen((news) => here.push(news));
  other.listen((news) => there.push(news));
  await one.add(smear("1"));
  await one.update("1", () => ({ name: "x" }));
  await one.remove("1");
  await one.clear();
  await vi.waitFor(() => expect(there).toHaveLength(4));
  const id = "1";
  expect(there).toEqual([
    { kind: "changed", id },
    { kind: "changed", id },
    { kind: "removed", id },
    { kind: "cleared" },
  ]);
  expect(here).toEqual([]);
});

test("a smear that is found again keeps the images that are at hand", async () => {
  const store = new Store<Kept>();
  const one = smear("1");
  await store.add(one);
  expect((await store.find("1", one.files))?.files).toBe(one.files);
  expect((await store.find("1"))?.files.map(({ file }) => file)).toEqual(["a.png", "b.png"]);
  expect(await store.find("2")).toBeUndefined();
  expect(await store.ids()).toEqual(["1"]);
});

test("readings go at once with what takes their place, and the order stays", async () => {
  const store = new Store<Kept>();
  const old = reading("a.png");
  await store.add({ ...smear("1"), readings: [old] });
  await store.add(smear("0"));
  const put = vi.spyOn(IDBObjectStore.prototype, "delete").mockImplementation(() => {
    throw new DOMException("broken", "UnknownError");
  });
  const failure = store.update("1", () => ({ readings: [], name: "anew" }), true);
  await expect(failure).rejects.toThrow("broken");
  put.mockRestore();
  expect((await reloaded())[0]).toMatchObject({ name: "smear 1", readings: [{}] });
  await store.update("1", () => ({ readings: [], name: "anew" }), true);
  expect((await reloaded()).map(({ name, readings }) => [name, readings.length])).toEqual([
    ["anew", 0],
    ["smear 0", 0],
  ]);
  // One that was written before is written again.
  await store.update("1", () => ({ readings: [old] }), true);
  expect((await reloaded())[0]?.readings).toHaveLength(1);
});
