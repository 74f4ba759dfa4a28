import { describe, expect, test } from "vitest";
import { type Dropped, fromDrop, fromFiles } from "../src/files";

/** A folder as a drop gives it: entries by name, null for one that cannot be opened. */
type Tree = { [name: string]: Tree | string | null };

function entry(name: string, content: Tree | string | null, portion = 100): FileSystemEntry {
  if (typeof content === "string") {
    const file = (resolve: (file: File) => void) => resolve(new File([content], name));
    return { name, isFile: true, isDirectory: false, file } as unknown as FileSystemEntry;
  }
  const inside = Object.entries(content ?? {}).map(([child, it]) => entry(child, it, portion));
  let read = 0;
  const readEntries = (
    resolve: (entries: FileSystemEntry[]) => void,
    reject: (error: Error) => void,
  ) => {
    if (content === null) return reject(new DOMException("not allowed", "NotReadableError"));
    resolve(inside.slice(read, read + portion));
    read += portion;
  };
  const createReader = () => ({ readEntries });
  return { name, isFile: false, isDirectory: true, createReader } as unknown as FileSystemEntry;
}

function drop(tree: Tree, portion = 100): Promise<Dropped> {
  const items = Object.entries(tree).map(([name, content]) => ({
    webkitGetAsEntry: () => entry(name, content, portion),
  }));
  return fromDrop({ items, files: [] } as unknown as DataTransfer);
}

/** The same as a dialogue for folders gives it. */
function choose(tree: Tree): Dropped {
  const files: File[] = [];
  const walk = (inside: Tree, above: string) => {
    for (const [name, content] of Object.entries(inside)) {
      if (typeof content === "string") {
        const file = new File([content], name);
        const path = above ? `${above}/${name}` : "";
        Object.defineProperty(file, "webkitRelativePath", { value: path });
        files.push(file);
      } else if (content) walk(content, above ? `${above}/${name}` : name);
    }
  };
  walk(tree, "");
  return fromFiles(files);
}

function shown({ smears, passedOver }: Dropped) {
  return {
    smears: smears.map((it) => [it.name, it.files.map(({ file }) => file)]),
    passedOver,
  };
}

const ways = [
  ["dropped", drop],
  ["chosen", async (tree: Tree) => choose(tree)],
] as const;

describe.each(ways)("%s", (_way, take) => {
  test("a folder of images is one smear, its sub-folders with it", async () => {
    const found = await take({
      "smear-1": { "b.JPG": "b", "a.tif": "a", more: { "c.jpeg": "c", deep: { "d.png": "d" } } },
    });
    expect(shown(found)).toEqual({
      smears: [["smear-1", ["a.tif", "b.JPG", "more/c.jpeg", "more/deep/d.png"]]],
      passedOver: [],
    });
  });

  test("a folder of folders is a cohort: each of them is a smear", async () => {
    const found = await take({
      cohort: {
        "smear-2": { "a.png": "a", sorted: { "b.png": "b" } },
        "smear-10": { "x.bmp": "x" },
        "notes.txt": "not a smear",
        ".DS_Store": "",
      },
    });
    expect(shown(found)).toEqual({
      smears: [
        ["smear-10", ["x.bmp"]],
        ["smear-2", ["a.png", "sorted/b.png"]],
      ],
      passedOver: [
        { path: "cohort/.DS_Store", reason: "hidden" },
        { path: "cohort/notes.txt", reason: "not named like an image" },
      ],
    });
  });

  test("a folder of nothing but classes is one smear, sorted by type", async () => {
    const found = await take({
      patient: {
        Neutrophils: { "1.jpg": "1" },
        lymphocyte: { "2.jpg": "2" },
        other: { "3.jpg": "3" },
      },
    });
    expect(shown(found).smears).toEqual([
      ["patient", ["Neutrophils/1.jpg", "lymphocyte/2.jpg", "other/3.jpg"]],
    ]);
  });

  test("loose images are a smear of their own", async () => {
    const found = await take({ "b.png": "b", "a.png": "a", "c.doc": "c" });
    expect(shown(found).smears).toEqual([["Dropped images", ["a.png", "b.png"]]]);
    expect(found.smears[0]?.passedOver).toEqual([
      { path: "c.doc", reason: "not named like an image" },
    ]);
  });

  test("hidden folders are passed over as one, whatever they hold", async () => {
    const found = await take({
      s: {
        "a.png": "a",
        ".thumbs": { "a.png": "t", "b.png": "t" },
        sub: { "._b.png": "m", png: "" },
      },
    });
    expect(found.smears[0]?.files.map(({ file }) => file)).toEqual(["a.png"]);
    expect(found.smears[0]?.passedOver).toEqual([
      { path: ".thumbs", reason: "hidden" },
      { path: "sub/._b.png", reason: "hidden" },
      { path: "sub/png", reason: "not named like an image" },
    ]);
  });

  test("several folders at once are several smears, loose files beside them another", async () => {
    const found = await take({ two: { "1.png": "" }, one: { "2.png": "" }, "3.png": "" });
    expect(found.smears.map(({ name }) => name)).toEqual(["Dropped images", "one", "two"]);
  });

  test("what is in the files is what was there", async () => {
    const found = await take({ s: { "a.png": "content" } });
    expect(await found.smears[0]?.files[0]?.blob.text()).toBe("content");
  });
});

describe.each(ways)("a folder that could be meant otherwise, %s,", (_way, take) => {
  const told = ({ choices }: Dropped) => choices.map((it) => [it.told, it.action]);
  const other = ({ choices }: Dropped) => choices[0]?.other() as Dropped;

  test("as smears: it is said, and it can be one", async () => {
    const found = await take({
      fields: { field1: { "a.png": "" }, field2: { "a.png": "", "b.png": "" }, "n.txt": "" },
    });
    expect(told(found)).toEqual([
      ["fields was read as 2 smears, one for each folder.", "Read as one smear"],
    ]);
    const one = other(found);
    expect(shown(one)).toEqual({
      smears: [["fields", ["field1/a.png", "field2/a.png", "field2/b.png"]]],
      passedOver: [],
    });
    expect(one.smears[0]?.passedOver.map(({ path }) => path)).toEqual(["n.txt"]);
    expect(told(one)).toEqual([
      ["fields was read as one smear: 2 folders (field1, field2).", "Read each folder as a smear"],
    ]);
    expect(shown(other(one))).toEqual(shown(found));
  });

  test("as one smear with images beside folders: both are named", async () => {
    const found = await take({
      ward: {
        "a.png": "",
        "n.txt": "",
        "patient 1": { "b.png": "" },
        "patient 2": { "c.png": "" },
      },
    });
    expect(told(found)).toEqual([
      [
        "ward was read as one smear: 1 image in it, and 2 folders (patient 1, patient 2).",
        "Read each folder as a smear",
      ],
    ]);
    const each = other(found);
    expect(shown(each)).toEqual({
      smears: [
        ["patient 1", ["b.png"]],
        ["patient 2", ["c.png"]],
        ["ward", ["a.png"]],
      ],
      passedOver: [],
    });
    expect(each.smears[2]?.passedOver.map(({ path }) => path)).toEqual(["n.txt"]);
    expect(told(each)[0]?.[0]).toBe(
      "ward was read as 3 smears, one for each folder in it, and one for the images beside them.",
    );
  });

  test("deeper folders that merge are told of too", async () => {
    const found = await take({
      study: { site1: { p1: { "a.png": "" }, p2: { "b.png": "" } }, site2: { "c.png": "" } },
    });
    expect(told(found).map(([sentence]) => sentence)).toEqual([
      "study was read as 2 smears, one for each folder.",
      "site1 was read as one smear: 2 folders (p1, p2).",
    ]);
    expect(shown(found.choices[1]?.other() as Dropped).smears).toEqual([
      ["p1", ["a.png"]],
      ["p2", ["b.png"]],
    ]);
  });

  test.each<[string, Tree]>([
    ["images alone", { s: { "a.png": "" } }],
    ["cells sorted by type, and loose ones", { s: { "a.png": "", IG: { "b.png": "" } } }],
    ["nothing but types", { s: { neutrophils: { "a.png": "" }, other: { "b.png": "" } } }],
    ["a single smear in a folder", { s: { one: { "a.png": "" } } }],
    ["a folder without images beside some", { s: { "a.png": "", notes: { "b.txt": "" } } }],
    ["several folders", { one: { "a.png": "" }, two: { "b.png": "" } }],
  ])("nothing is asked of %s", async (_what, tree) => {
    expect((await take(tree)).choices).toEqual([]);
  });
});

test("a large folder comes in portions, and all of it is taken", async () => {
  const names = Array.from({ length: 250 }, (_, nth) => `${String(nth).padStart(3, "0")}.png`);
  const found = await drop({ s: Object.fromEntries(names.map((name) => [name, "x"])) }, 100);
  expect(found.smears[0]?.files.map(({ file }) => file)).toEqual(names);
});

test("what cannot be opened is listed with its reason", async () => {
  const found = await drop({ s: { "a.png": "a", locked: null } });
  expect(found.smears[0]?.unreadable).toEqual([
    { file: "locked", reason: "it cannot be opened (not allowed)" },
  ]);
  const cohort = await drop({ cohort: { one: { "a.png": "a" }, two: null } });
  expect(
    cohort.smears.map(({ name, files, unreadable }) => [name, files.length, unreadable.length]),
  ).toEqual([
    ["one", 1, 0],
    ["two", 0, 1],
  ]);
});

test("an empty folder does not vanish", async () => {
  expect(shown(await drop({ empty: {} })).smears).toEqual([["empty", []]]);
  const cohort = await drop({ cohort: { one: { "a.png": "a" }, two: {} } });
  expect(shown(cohort).smears).toEqual([
    ["one", ["a.png"]],
    ["two", []],
  ]);
});

test("a locked folder alone is told of", async () => {
  const found = await drop({ locked: null });
  expect(found.smears).toMatchObject([{ name: "locked", files: [], unreadable: [{}] }]);
});

test("files that are in no file system are taken too", async () => {
  const files = [new File(["x"], "mailed.png")];
  const found = await fromDrop({ items: [], files } as unknown as DataTransfer);
  expect(shown(found).smears).toEqual([["Dropped images", ["mailed.png"]]]);
});
