/** What the page does, without a page: reading, stopping, correcting, undoing, keeping. */

import { beforeEach, describe, expect, it } from "vitest";
import type { CellReader as Reader } from "../src/engine/client";
import type { DroppedSmear } from "../src/files";
import { type Keeper, Session } from "../src/ui/session";
import { judgement, labelOf, type Smear, verdict } from "../src/ui/smear";
import { CellReader } from "./fake/reader";

/** Keeps smears as a browser would: what comes back is a copy. */
class Memory implements Keeper {
  readonly smears = new Map<string, Smear>();
  writes = 0;
  trouble = "";

  async load() {
    return structuredClone([...this.smears.values()]);
  }
  async add(smear: Smear) {
    if (this.trouble) throw new Error(this.trouble);
    this.smears.set(smear.id, smear);
  }
  async update(smear: Smear) {
    this.writes += 1;
    if (this.smears.has(smear.id)) this.smears.set(smear.id, smear);
  }
  async remove(id: string) {
    this.smears.delete(id);
  }
  async clear() {
    this.smears.clear();
  }
}

const NORMAL = Array.from({ length: 9 }, (_, at) => `neutrophil-0.999_${at}.jpg`);
const DYSPLASTIC = ["neutrophil-0.2_a.jpg", "neutrophil-0.9_b.jpg", "neutrophil-0.97_c.jpg"];
const REST = ["lymphocyte_1.jpg", "monocyte_1.jpg", "broken_1.jpg"];

function dropped(name: string, files: readonly string[]): DroppedSmear {
  return {
    name,
    files: files.map((file) => ({ file, blob: new Blob([file]) })),
    passedOver: [],
    unreadable: [],
  };
}

let keeper: Memory;
let session: Session;

async function until(holds: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2000 && !holds(); tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(holds()).toBe(true);
}

const only = () => session.state.smears[0] as Smear;
const report = () => {
  const judged = judgement(only());
  if (typeof judged === "string") throw new Error(judged);
  return judged.report;
};

async function read(files = [...NORMAL, ...DYSPLASTIC, ...REST]): Promise<string> {
  session.add({ smears: [dropped("one", files)], passedOver: [] });
  await until(() => only().stage === "read");
  return only().id;
}

function open(): Promise<Reader> {
  return CellReader.open(new URL("http://localhost/")) as unknown as Promise<Reader>;
}

beforeEach(async () => {
  keeper = new Memory();
  session = new Session(open, keeper);
  await session.start();
});

describe("reading", () => {
  it("waits for the models, then reads every smear in turn", async () => {
    session.add({ smears: [dropped("a", NORMAL), dropped("b", DYSPLASTIC)], passedOver: [] });
    expect(session.state.smears.map(({ stage }) => stage)).toEqual(["waiting", "waiting"]);
    await until(() => session.state.smears.every(({ stage }) => stage === "read"));
    expect(session.state.smears.map(({ readings }) => readings.length)).toEqual([9, 3]);
  });

  it("judges the whole smear and lists what cannot be read", async () => {
    await read();
    expect(report().dysplastic).toBe(3);
    expect(report().neutrophils).toBe(12);
    expect(report().decision).toBe("mds-suspected");
    expect(report().unreadable).toEqual([
      { file: "broken_1.jpg", reason: "the JPEG data are damaged" },
    ]);
    expect(session.state.said.text).toContain("MDS suspected");
  });

  it("gives no decision of a part: a stopped smear goes on where it was", async () => {
    const files = Array.from({ length: 40 }, (_, at) => `neutrophil-0.999_${at}.jpg`);
    session.add({ smears: [dropped("long", files)], passedOver: [] });
    await until(() => only().readings.length >= 5);
    session.stop();
    // Asked to go on before the stop has come through.
    session.resume();
    await until(() => only().stage === "read");
    expect(
      only()
        .readings.map(({ file }) => file)
        .sort(),
    ).toEqual([...files].sort());
    session.stop();
    expect(only().stage).toBe("read");
  });

  it("forgets a smear that is removed while it is read, and reads the next", async () => {
    session.add({ smears: [dropped("a", NORMAL), dropped("b", DYSPLASTIC)], passedOver: [] });
    await until(() => only().readings.length >= 2);
    await session.remove(only().id);
    await until(() => session.state.smears.length === 1 && only().stage === "read");
    expect(only().name).toBe("b");
    expect(keeper.smears.size).toBe(1);
  });

  it("says when nothing was an image", () => {
    const nothing = { ...dropped("notes", []), passedOver: [{ path: "a.txt", reason: "hidden" }] };
    session.add({ smears: [nothing], passedOver: [] });
    expect(session.state.smears).toEqual([]);
    expect(session.state.notice).toContain("There is no image in notes");
  });

  it("names a second smear of the same name apart", async () => {
    session.add({ smears: [dropped("a", NORMAL), dropped("a", NORMAL)], passedOver: [] });
    session.add({ smears: [dropped("a", NORMAL)], passedOver: [] });
    expect(session.state.smears.map(({ name }) => name)).toEqual(["a", "a (2)", "a (3)"]);
  });

  it("tells why nothing can be decided where no image can be read", async () => {
    await read(["broken_1.jpg", "broken_2.jpg"]);
    expect(judgement(only())).toContain("none of the 2 images");
    expect(verdict(only())).toBe("Nothing can be decided.");
  });

  it("says that the models could not be loaded, and tries again when asked", async () => {
    let isBroken = true;
    session = new Session(() => (isBroken ? Promise.reject(new Error("404")) : open()), keeper);
    await session.start();
    session.add({ smears: [dropped("a", NORMAL)], passedOver: [] });
    await until(() => session.state.engine.kind === "failed");
    expect(only().stage).toBe("waiting");
    isBroken = false;
    session.openModels();
    await until(() => only().stage === "read");
  });
});

describe("corrections", () => {
  it("recompute at once, and undo in turn", async () => {
    const id = await read();
    await session.relabel(id, "neutrophil-0.2_a.jpg", "lymphocyte");
    await session.relabel(id, "neutrophil-0.9_b.jpg", "monocyte");
    await session.relabel(id, "neutrophil-0.97_c.jpg", "other");
    expect(report().dysplastic).toBe(0);
    expect(report().decision).toBe("indeterminate");
    expect(report().corrections?.length).toBe(3);
    expect(session.undo(id)).toBe("neutrophil-0.97_c.jpg");
    expect(report().neutrophils).toBe(10);
    expect(session.undo(id)).toBe("neutrophil-0.9_b.jpg");
    expect(session.undo(id)).toBe("neutrophil-0.2_a.jpg");
    expect(session.undo(id)).toBeUndefined();
    expect(report().corrections).toBeUndefined();
    expect(report().dysplastic).toBe(3);
  });

  it("are none where a cell gets back the network's name", async () => {
    const id = await read();
    await session.relabel(id, "lymphocyte_1.jpg", "monocyte");
    await session.relabel(id, "lymphocyte_1.jpg", "lymphocyte");
    expect(only().corrections.size).toBe(0);
    session.undo(id);
    expect(labelOf(only(), "lymphocyte_1.jpg")).toBe("monocyte");
  });

  it("score a cell that the networks called otherwise before it counts as neutrophil", async () => {
    const id = await read();
    const done = session.relabel(id, "lymphocyte_1.jpg", "neutrophil");
    expect(only().pending.has("lymphocyte_1.jpg")).toBe(true);
    expect(report().neutrophils).toBe(12);
    await done;
    expect(only().pending.size).toBe(0);
    const row = report().cells.find(({ file }) => file === "lymphocyte_1.jpg");
    expect(row).toMatchObject({ label: "neutrophil", granularity: 0.25, dysplastic: true });
  });

  it("let the later word count where the earlier one still waits for its score", async () => {
    const id = await read();
    const slow = session.relabel(id, "lymphocyte_1.jpg", "neutrophil");
    await session.relabel(id, "lymphocyte_1.jpg", "basophil");
    await slow;
    expect(labelOf(only(), "lymphocyte_1.jpg")).toBe("basophil");
  });

  it("keep the cell's label where it cannot be scored, and say so", async () => {
    const id = await read();
    const reader = await open();
    Object.assign(reader, { score: () => Promise.reject(new Error("its image is gone")) });
    session = Object.assign(new Session(() => Promise.resolve(reader), keeper), {});
    await session.start();
    await session.relabel(id, "lymphocyte_1.jpg", "neutrophil");
    expect(labelOf(only(), "lymphocyte_1.jpg")).toBe("lymphocyte");
    expect(session.state.notice).toContain("its image is gone");
  });

  it("survive a reload with their undo, a half-read smear waits to go on", async () => {
    const id = await read();
    await session.relabel(id, "neutrophil-0.2_a.jpg", "lymphocyte");
    session.tryPoint(id, { cutoff: 0.5, threshold: 0.5 });
    await until(() => keeper.smears.get(id)?.corrections.size === 1);
    const half = { ...only(), id: "half", stage: "reading" as const };
    keeper.smears.set("half", half);
    session = new Session(open, keeper);
    await session.start();
    expect(labelOf(only(), "neutrophil-0.2_a.jpg")).toBe("lymphocyte");
    expect(only().trial).toBeNull();
    expect(session.state.smears[1]?.stage).toBe("stopped");
    session.undo(id);
    expect(labelOf(only(), "neutrophil-0.2_a.jpg")).toBe("neutrophil");
    await session.clear();
    expect(keeper.smears.size).toBe(0);
  });

  it("stay when the smear is read again by other models, which score them anew", async () => {
    const id = await read();
    await session.relabel(id, "lymphocyte_1.jpg", "neutrophil");
    session.readAgain(id);
    expect(only().readings).toEqual([]);
    await until(() => only().stage === "read");
    expect(labelOf(only(), "lymphocyte_1.jpg")).toBe("neutrophil");
    expect(only().scores.get("lymphocyte_1.jpg")).toBe(0.25);
    expect(report().cells.length).toBe(14);
  });
});

describe("another cut-off and threshold", () => {
  it("change the report, and leave the fitted one beside it", async () => {
    const id = await read();
    session.tryPoint(id, { cutoff: 0.95, threshold: 0.3 });
    const judged = judgement(only());
    if (typeof judged === "string") throw new Error(judged);
    expect(judged.report).toMatchObject({ cutoff: 0.95, threshold: 0.3, dysplastic: 2 });
    expect(judged.report.decision).toBe("no-dysplasia");
    expect(judged.fitted).toMatchObject({ threshold: 0.115, decision: "mds-suspected" });
    session.tryPoint(id, null);
    expect(report().decision).toBe("mds-suspected");
  });
});

describe("the store", () => {
  it("is told of when it fails, and nothing else is lost", async () => {
    keeper.trouble = "no room";
    await read();
    expect(session.state.unkept).toContain("no room");
    expect(report().neutrophils).toBe(12);
  });
});
