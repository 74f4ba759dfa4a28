/**
 * Files and folders that a person drops or chooses, sorted into smears. As in `cellnet/listing.py`,
 * hidden entries and names that are no image's are passed over and counted, and an entry that
 * cannot be opened is listed with its reason.
 */

import { LABELS } from "./cells";
import type { InputFile, Unreadable } from "./engine/types";
import { told } from "./errors";
import { byName, count, printable, some } from "./report/text";
import type { PassedOver } from "./rules/smear";

/** What the name of an image ends in, in lower or upper case. */
export const EXTENSIONS: readonly string[] = [
  ".jpg",
  ".jpeg",
  ".jpe",
  ".jfif",
  ".png",
  ".bmp",
  ".dib",
  ".tif",
  ".tiff",
  ".webp",
];

/** The images of one smear, sorted by path; nothing is opened yet. */
export type DroppedSmear = {
  readonly name: string;
  readonly files: readonly InputFile[];
  readonly passedOver: readonly PassedOver[];
  /** What could not be listed or opened. */
  readonly unreadable: readonly Unreadable[];
};

export type Dropped = {
  /** In the order of their names; one without images is there too, to be told of. */
  readonly smears: readonly DroppedSmear[];
  /** What stands beside the smears and belongs to none. */
  readonly passedOver: readonly PassedOver[];
  /** Folders that could be meant otherwise than they were read. */
  readonly choices: readonly Choice[];
};

/** A folder whose sub-folders may be parts of one smear, or smears. */
export type Choice = {
  /** How it was read, in a sentence. */
  readonly told: string;
  /** What came of it, among the smears that were dropped. */
  readonly smears: readonly DroppedSmear[];
  /** What is written on the button for the other way. */
  readonly action: string;
  readonly other: () => Dropped;
};

/** An entry by its path from what was dropped on. */
type Found = { readonly path: readonly string[] } & (
  | { readonly kind: "file"; readonly blob: Blob }
  | { readonly kind: "folder" }
  /** It cannot be opened. */
  | { readonly kind: "closed"; readonly reason: string }
);

/** What loose files are called together. */
const LOOSE = "Dropped images";

/**
 * Read what was dropped. To be called while the drop is handled: afterwards the browser takes the
 * entries away.
 */
export function fromDrop(data: DataTransfer): Promise<Dropped> {
  const entries = Array.from(data.items, (item) => item.webkitGetAsEntry()).filter(
    (entry) => entry !== null,
  );
  // Some programs drop files that are in no file system.
  if (entries.length === 0) return Promise.resolve(fromFiles(data.files));
  return Promise.all(entries.map((entry) => walk(entry, []))).then((found) => sort(found.flat()));
}

/** Read what was chosen with a file dialogue, of files or of a folder. */
export function fromFiles(files: Iterable<File>): Dropped {
  return sort(
    Array.from(files, (file) => ({
      kind: "file",
      path: (file.webkitRelativePath || file.name).split("/"),
      blob: file,
    })),
  );
}

async function walk(entry: FileSystemEntry, above: readonly string[]): Promise<Found[]> {
  const path = [...above, entry.name];
  const itself: Found[] = entry.isDirectory ? [{ kind: "folder", path }] : [];
  // Left out as a whole.
  if (above.length > 0 && isHidden(entry.name)) return [{ kind: "folder", path }];
  try {
    if (entry.isFile) {
      const blob = await new Promise<File>((resolve, reject) =>
        (entry as FileSystemFileEntry).file(resolve, reject),
      );
      return [{ kind: "file", path, blob }];
    }
    const inside = await children(entry as FileSystemDirectoryEntry);
    return itself.concat(...(await Promise.all(inside.map((child) => walk(child, path)))));
  } catch (error) {
    return [...itself, { kind: "closed", path, reason: `it cannot be opened (${told(error)})` }];
  }
}

/** A folder's entries come in portions, the last of them empty. */
async function children(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const portion = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (portion.length === 0) return all;
    all.push(...portion);
  }
}

function sort(found: readonly Found[]): Dropped {
  const isFolder = new Set(found.filter((item) => item.kind === "folder").map(pathOf));
  const isLoose = (item: Found) => item.path.length === 1 && !isFolder.has(pathOf(item));
  const parts: Dropped[] = [];
  const loose = found.filter(isLoose);
  if (loose.length > 0) parts.push({ ...NOTHING, smears: [smear(LOOSE, loose, 0)] });
  const roots = groupBy(
    found.filter((item) => !isLoose(item)),
    (item) => item.path[0] ?? "",
  );
  for (const [root, items] of roots) {
    parts.push(isOneSmear(items) ? asOne(root, items, 1) : asEach(root, items, 1));
  }
  return put(parts);
}

const NOTHING: Dropped = { smears: [], passedOver: [], choices: [] };

function put(parts: readonly Dropped[]): Dropped {
  return {
    smears: parts.flatMap(({ smears }) => smears).sort((a, b) => byName(a.name, b.name)),
    passedOver: parts.flatMap(({ passedOver }) => passedOver),
    choices: parts.flatMap(({ choices }) => choices),
  };
}

/** Take a folder that lies `depth` folders below what was dropped as one smear. */
function asOne(folder: string, items: readonly Found[], depth: number): Dropped {
  const one = smear(folder, items, depth);
  const inside = one.files.filter(({ file }) => file.includes("/"));
  const folders = [...new Set(inside.map(({ file }) => file.slice(0, file.indexOf("/"))))];
  const beside = one.files.length - inside.length;
  const others = folders.filter((name) => !isClass(name));
  // Cells that were sorted by type belong to the images beside them.
  const places = others.length + (beside > 0 || others.length < folders.length ? 1 : 0);
  if (others.length === 0 || places < 2) return { ...NOTHING, smears: [one] };
  const images = beside > 0 ? `${count(beside, "image")} in it, and ` : "";
  const names = some(folders);
  const named =
    folders.length === 1 ? `the folder ${names}` : `${folders.length} folders (${names})`;
  return {
    ...NOTHING,
    smears: [one],
    choices: [
      {
        told: printable(`${folder} was read as one smear: ${images}${named}.`),
        smears: [one],
        action: "Read each folder as a smear",
        other: () => asEach(folder, items, depth),
      },
    ],
  };
}

/** Take each folder in a folder as a smear, and the images beside them as another. */
function asEach(folder: string, items: readonly Found[], depth: number): Dropped {
  const isFolder = (item: Found) => item.kind === "folder" && item.path.length === depth + 1;
  const opened = new Set(items.filter(isFolder).map(pathOf));
  const isInside = ({ path }: Found) =>
    !isHidden(path[depth] ?? "") &&
    (path.length > depth + 1 || opened.has(path.slice(0, depth + 1).join("/")));
  const below = items.filter(({ path }) => path.length > depth);
  const folders = groupBy(below.filter(isInside), ({ path }) => path[depth] ?? "");
  const parts = [...folders].map(([name, its]) => asOne(name, its, depth + 1));
  const besides = below.filter((item) => !isInside(item));
  const loose = smear(folder, besides, depth);
  const hasImages = loose.files.length > 0;
  if (hasImages) parts.push({ ...NOTHING, smears: [loose] });
  const { smears, passedOver, choices } = put(parts);
  const beside = smear(folder, hasImages ? [] : besides, 0);
  const number = smears.filter(({ files }) => files.length > 0).length;
  const each = hasImages ? "each folder in it, and one for the images beside them" : "each folder";
  const choice: Choice = {
    told: printable(`${folder} was read as ${number} smears, one for ${each}.`),
    smears,
    action: "Read as one smear",
    other: () => asOne(folder, items, depth),
  };
  return {
    smears,
    passedOver: [
      ...passedOver,
      ...beside.passedOver,
      ...beside.unreadable.map(({ file, reason }) => ({ path: file, reason })),
    ],
    choices: number > 1 ? [choice, ...choices] : choices,
  };
}

/**
 * Whether a folder is a smear itself: it holds images, or nothing but folders that are called like
 * classes, as laboratories sort the cells of one smear. Else each of its folders is one.
 */
function isOneSmear(items: readonly Found[]): boolean {
  const shown = items.filter(({ path }) => !path.slice(1).some(isHidden));
  const holdsImages = shown.some(
    (item) => item.kind === "file" && item.path.length === 2 && isImage(item.path[1] ?? ""),
  );
  const folders = shown.filter((item) => item.path.length > 2 || isFolderBelow(item));
  return holdsImages || folders.every(({ path }) => isClass(path[1] ?? ""));
}

const CLASS_NAMES = new Set(LABELS.flatMap((label): string[] => [label, `${label}s`]));

function isClass(folder: string): boolean {
  return CLASS_NAMES.has(folder.toLowerCase());
}

function isFolderBelow(item: Found): boolean {
  return item.kind === "folder" && item.path.length === 2;
}

function isHidden(name: string): boolean {
  return name.startsWith(".");
}

function pathOf(item: Found): string {
  return item.path.join("/");
}

function groupBy(items: readonly Found[], key: (item: Found) => string): Map<string, Found[]> {
  const groups = new Map<string, Found[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

function isImage(name: string): boolean {
  const dot = name.lastIndexOf(".");
  return dot > 0 && EXTENSIONS.includes(name.slice(dot).toLowerCase());
}

/** Make a smear of what was found in a folder that lies `depth` folders below what was dropped. */
function smear(name: string, items: readonly Found[], depth: number): DroppedSmear {
  const files: InputFile[] = [];
  const passedOver = new Map<string, string>();
  const unreadable: Unreadable[] = [];
  for (const item of items) {
    const below = item.path.slice(depth);
    const file = below.join("/") || name;
    const hidden = below.findIndex(isHidden);
    // A hidden folder is one entry, however many files a dialogue gives of it.
    if (hidden >= 0) passedOver.set(below.slice(0, hidden + 1).join("/"), "hidden");
    else if (item.kind === "closed") unreadable.push({ file, reason: item.reason });
    else if (item.kind === "folder") continue;
    else if (isImage(below.at(-1) ?? "")) files.push({ file, blob: item.blob });
    else passedOver.set(file, "not named like an image");
  }
  return {
    name,
    files: files.sort((a, b) => byName(a.file, b.file)),
    passedOver: Array.from(passedOver, ([path, reason]) => ({ path, reason })).sort((a, b) =>
      byName(a.path, b.path),
    ),
    unreadable: unreadable.sort((a, b) => byName(a.file, b.file)),
  };
}
