/** Two tabs of the page over one store: what one does, the other takes over. */

import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { beforeEach, expect, test } from "vitest";
import type { CellReader as Reader } from "../src/engine/client";
import { Store } from "../src/store";
import { Session } from "../src/ui/session";
import type { Smear } from "../src/ui/smear";
import { CellReader } from "./fake/reader";

const FILES = ["neutrophil-0.2_a.jpg", "lymphocyte_1.jpg", "monocyte_1.jpg", "basophil_1.jpg"];

async function tab(): Promise<Session> {
  const open = () => CellReader.open(new URL("http://localhost/")) as unknown as Promise<Reader>;
  const session = new Session(open, new Store<Smear>());
  await session.start();
  return session;
}

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1000 && !holds(); tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(holds()).toBe(true);
}

const only = (session: Session) => session.state.smears[0] as Smear;
const labels = (session: Session) => Object.fromEntries(only(session)?.corrections ?? []);

function drop(session: Session, name = "one"): void {
  const files = FILES.map((file) => ({ file, blob: new Blob([file]) }));
  const smear = { name, files, passedOver: [], unreadable: [] };
  session.add({ smears: [smear], passedOver: [], choices: [] });
}

async function read(session: Session): Promise<string> {
  drop(session);
  await until(() => only(session).stage === "read");
  return only(session).id;
}

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
});

test("a smear that is read in one tab comes to the other", async () => {
  const [a, b] = [await tab(), await tab()];
  await read(a);
  await until(() => only(b)?.stage === "read");
  expect(b.state.open).toBe(only(a).id);
  expect(only(b).readings.map(({ file }) => file)).toEqual([...FILES].sort());
  expect(await only(b).files[0]?.blob.text()).toBeTruthy();
});

test("corrections of both tabs stay, in both and after a reload", async () => {
  const a = await tab();
  const id = await read(a);
  await a.relabel(id, "lymphocyte_1.jpg", "neutrophil");
  const b = await tab();
  await b.relabel(id, "monocyte_1.jpg", "ig");
  // Before the other tab's word is here.
  await a.relabel(id, "basophil_1.jpg", "other");
  const all = {
    "lymphocyte_1.jpg": "neutrophil",
    "monocyte_1.jpg": "ig",
    "basophil_1.jpg": "other",
  };
  await until(() => only(a).corrections.size === 3 && only(b).corrections.size === 3);
  expect([labels(a), labels(b), labels(await tab())]).toEqual([all, all, all]);
  expect(only(b).scores.get("lymphocyte_1.jpg")).toBe(0.25);
  b.undo(id);
  await until(() => only(a).corrections.size === 2);
  expect(a.state.unkept + b.state.unkept).toBe("");
});

test("what one tab tries stays its own", async () => {
  const a = await tab();
  const id = await read(a);
  const b = await tab();
  a.tryPoint(id, { cutoff: 0.5, threshold: 0.5 });
  await b.relabel(id, "monocyte_1.jpg", "ig");
  await until(() => only(a).corrections.size === 1);
  expect(only(a).trial).not.toBeNull();
  expect(only(b).trial).toBeNull();
});

test("a smear that is removed in one tab leaves the other, which says so", async () => {
  const a = await tab();
  const id = await read(a);
  const b = await tab();
  await b.remove(id);
  await until(() => a.state.smears.length === 0);
  expect(a.state.notice).toBe("one was removed in another tab.");
  expect(a.state.open).toBeNull();
});

test("what is cleared in one tab is gone in the other, even in the middle of reading", async () => {
  const a = await tab();
  await read(a);
  const b = await tab();
  drop(a, "two");
  await b.clear();
  await until(() => a.state.smears.length === 0 && b.state.smears.length === 0);
  expect(a.state.notice).toBe("Everything was cleared in another tab.");
  expect((await tab()).state.smears).toEqual([]);
});

test("what this tab reads is not disturbed by the other's corrections", async () => {
  const a = await tab();
  const id = await read(a);
  const b = await tab();
  a.readAgain(id);
  await b.relabel(id, "monocyte_1.jpg", "ig");
  await until(() => only(a).stage === "read" && only(a).corrections.size === 1);
  await until(() => only(b).stage === "read" && only(b).readings.length === FILES.length);
  expect(labels(await tab())).toEqual({ "monocyte_1.jpg": "ig" });
});
