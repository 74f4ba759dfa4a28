/** What the page does, without a page: reading, stopping, correcting, undoing, keeping. */

import { beforeEach, describe, expect, it } from "vitest";
import type { CellReader as Reader } from "../src/engine/client";
import { type DroppedSmear, fromFiles } from "../src/files";
import { type Keeper, type Offer, Session } from "../src/ui/session";
import { judgement, labelOf, type Smear, verdict } from "../src/ui/smear";
import { CellReader } from "./fake/reader";

/** Keeps smears as a browser would: what comes back is a copy. */
class Memory implements Keeper {
  readonly smears = new Map<string, Smear>();
  trouble = "";

  async load() {
    return structuredClone([...this.smears.values()]);
  }
  async add(smear: Smear) {
    if (this.trouble) throw new Error(this.trouble);
    this.smears.set(smear.id, smear);
  }
  async update(id: string, change: (kept: Smear) => Partial<Smear>) {
    const before = this.smears.get(id);
    if (!before) throw new Error("the smear was removed from this computer");
    this.smears.set(id, { ...before, ...change(before) });
  }
  async find(id: string) {
    return structuredClone(this.smears.get(id));
  }
  async ids() {
    return [...this.smears.keys()];
  }
  listen() {}
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

function passed(path: string) {
  return { path, reason: "not named like an image" };
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
  session.add({ smears: [dropped("one", files)], passedOver: [], choices: [] });
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
    session.add({
      smears: [dropped("a", NORMAL), dropped("b", DYSPLASTIC)],
      passedOver: [],
      choices: [],
    });
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
    session.add({ smears: [dropped("long", files)], passedOver: [], choices: [] });
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
    session.add({
      smears: [dropped("a", NORMAL), dropped("b", DYSPLASTIC)],
      passedOver: [],
      choices: [],
    });
    await until(() => only().readings.length >= 2);
    await session.remove(only().id);
    await until(() => session.state.smears.length === 1 && only().stage === "read");
    expect(only().name).toBe("b");
    expect(keeper.smears.size).toBe(1);
  });

  it("says when nothing was an image", () => {
    const nothing = { ...dropped("notes", []), passedOver: [{ path: "a.txt", reason: "hidden" }] };
    session.add({ smears: [nothing], passedOver: [], choices: [] });
    expect(session.state.smears).toEqual([]);
    expect(session.state.notice).toContain("There is no image in notes");
  });

  it("says of packed files that they must be unpacked", () => {
    const zip = { ...dropped("Dropped images", []), passedOver: [passed("smear.ZIP")] };
    session.add({ smears: [zip], passedOver: [], choices: [] });
    expect(session.state.notice).toContain(
      "smear.ZIP is packed: unpack it first, and drop the folder.",
    );
    session.add({ smears: [], passedOver: [passed("a.zip"), passed("b.7z")], choices: [] });
    expect(session.state.notice).toContain("a.zip, b.7z are packed: unpack them first");
  });

  it("names a second smear of the same name apart", async () => {
    session.add({
      smears: [dropped("a", NORMAL), dropped("a", NORMAL)],
      passedOver: [],
      choices: [],
    });
    session.add({ smears: [dropped("a", NORMAL)], passedOver: [], choices: [] });
    expect(session.state.smears.map(({ name }) => name)).toEqual(["a", "a (2)", "a (3)"]);
    expect(session.state.notice).toBe(
      "Smears of these names were there already: a is called a (3).",
    );
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
    session.add({ smears: [dropped("a", NORMAL)], passedOver: [], choices: [] });
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

  it("come back all at once where all were undone", async () => {
    const id = await read();
    await session.relabel(id, "neutrophil-0.2_a.jpg", "lymphocyte");
    await session.relabel(id, "neutrophil-0.9_b.jpg", "monocyte");
    session.undoAll(id);
    expect(report().corrections).toBeUndefined();
    expect(session.undo(id)).toBe("neutrophil-0.9_b.jpg");
    expect(report().corrections?.map(({ corrected }) => corrected)).toEqual([
      "lymphocyte",
      "monocyte",
    ]);
    expect(session.undo(id)).toBe("neutrophil-0.9_b.jpg");
    expect(session.undo(id)).toBe("neutrophil-0.2_a.jpg");
    expect(session.undo(id)).toBeUndefined();
    await until(() => keeper.smears.get(id)?.steps.length === 0);
    expect(keeper.smears.get(id)?.corrections.size).toBe(0);
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
    expect(judged.report.warnings.at(-1)).toBe(
      "trial values: cell cut-off 0.95 and smear threshold 30.0 % by hand; the fitted cell cut-off " +
        "0.971931 and smear threshold 11.5 % give MDS suspected, borderline (3 of 12 neutrophils " +
        "dysplastic)",
    );
    // What Python says of a cut-off by hand stays; the word on the trial is added to it.
    session.tryPoint(id, { cutoff: 0.95, threshold: 0.115 });
    expect(report().warnings.slice(-2)).toMatchObject([
      expect.stringMatching(/^the cell cut-off 0\.95 was given by hand/),
      expect.stringMatching(/^trial values: cell cut-off 0\.95 by hand; /),
    ]);
    session.tryPoint(id, null);
    expect(report().decision).toBe("mds-suspected");
    expect(report().warnings.join()).not.toContain("trial");
  });
});

describe("a folder that could be one smear or several", () => {
  const field = (number: number) =>
    ["neutrophil-0.2_a.jpg", "lymphocyte_b.jpg", "broken_c.jpg"].map((name): [string, File] => [
      `fields/field${number}/${name}`,
      new File([`${number}`], name),
    ]);
  const chosen = () => {
    const files = [...field(1), ...field(2)].map(([path, file]) =>
      Object.defineProperty(file, "webkitRelativePath", { value: path }),
    );
    session.add(fromFiles(files));
  };
  const names = () => session.state.smears.map(({ name }) => name);
  const settled = () => until(() => session.state.smears.every(({ stage }) => stage === "read"));
  const take = () => session.readOtherwise(session.state.offers[0] as Offer);

  it("is offered the other way, and takes along what is known", async () => {
    chosen();
    await settled();
    expect(names()).toEqual(["field1", "field2"]);
    expect(session.state.offers.map(({ choice }) => [choice.told, choice.action])).toEqual([
      ["fields was read as 2 smears, one for each folder.", "Read as one smear"],
    ]);
    for (const { id } of session.state.smears) {
      await session.relabel(id, "lymphocyte_b.jpg", "neutrophil");
    }
    session.undoAll(only().id);
    take();
    await settled();
    expect(names()).toEqual(["fields"]);
    expect(only().readings.map(({ file }) => file)).toEqual([
      "field1/lymphocyte_b.jpg",
      "field1/neutrophil-0.2_a.jpg",
      "field2/lymphocyte_b.jpg",
      "field2/neutrophil-0.2_a.jpg",
    ]);
    expect(only().unreadable.length).toBe(2);
    expect([...only().corrections]).toEqual([["field2/lymphocyte_b.jpg", "neutrophil"]]);
    expect(report().neutrophils).toBe(3);
    // The step that undid all of field1 brings back no more than it took.
    session.undo(only().id);
    expect(only().corrections.size).toBe(0);
    session.undo(only().id);
    expect([...only().corrections.keys()]).toEqual(["field1/lymphocyte_b.jpg"]);
    await until(() => keeper.smears.size === 1);
    expect(session.state.offers[0]?.choice.told).toBe(
      "fields was read as one smear: 2 folders (field1, field2).",
    );
    take();
    await settled();
    expect(names()).toEqual(["field1", "field2"]);
    expect(session.state.smears.map(({ corrections }) => [...corrections.keys()])).toEqual([
      ["lymphocyte_b.jpg"],
      [],
    ]);
  });

  it("can be sorted anew while it is read", async () => {
    chosen();
    await until(() => only().readings.length > 0);
    take();
    await settled();
    expect(only().readings.length + only().unreadable.length).toBe(6);
    expect(only().closed).toEqual([]);
  });

  it("is not offered any more once a smear of it is removed, or it was put away", async () => {
    chosen();
    await session.remove(only().id);
    expect(session.state.offers).toEqual([]);
    await session.clear();
    chosen();
    session.putAway(session.state.offers[0] as Offer);
    expect(session.state.offers).toEqual([]);
    expect(names()).toEqual(["field1", "field2"]);
  });
});

describe("the store", () => {
  it("is told of when it no longer has a smear that is changed", async () => {
    const id = await read();
    keeper.smears.clear();
    await session.relabel(id, "lymphocyte_1.jpg", "basophil");
    await until(() => session.state.unkept !== "");
    expect(session.state.unkept).toContain("was removed");
    expect(labelOf(only(), "lymphocyte_1.jpg")).toBe("basophil");
  });

  it("is told of when it fails, and nothing else is lost", async () => {
    keeper.trouble = "no room";
    await read();
    expect(session.state.unkept).toContain("no room");
    expect(report().neutrophils).toBe(12);
  });
});
