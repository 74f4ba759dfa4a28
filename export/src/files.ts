/**
 * Files and folders that a person drops or chooses, sorted into smears. As in `cellnet/images.py`,
 * hidden entries and names that are no image's are passed over and counted, and an entry that
 * cannot be opened is listed with its reason.
 */

import { LABELS } from "./cells";
import type { InputFile, Unreadable } from "./engine/types";
import { told } from "./errors";
import { byName } from "./report/text";
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
  const smears: DroppedSmear[] = [];
  const passedOver: PassedOver[] = [];
  const loose = found.filter(isLoose);
  if (loose.length > 0) smears.push(smear(LOOSE, loose, 0));
  const roots = groupBy(
    found.filter((item) => !isLoose(item)),
    (item) => item.path[0] ?? "",
  );
  for (const [root, items] of roots) {
    if (isOneSmear(items)) {
      smears.push(smear(root, items, 1));
      continue;
    }
    const isInside = (item: Found) =>
      !isHidden(item.path[1] ?? "") && (item.path.length > 2 || isFolder.has(pathOf(item)));
    const folders = groupBy(items.filter(isInside), (item) => item.path[1] ?? "");
    for (const [folder, inside] of folders) {
      if (folder) smears.push(smear(folder, inside, 2));
    }
    const beside = smear(
      root,
      items.filter((item) => item.path.length > 1 && !isInside(item)),
      0,
    );
    passedOver.push(
      ...beside.passedOver,
      ...beside.unreadable.map(({ file, reason }) => ({ path: file, reason })),
    );
  }
  smears.sort((a, b) => byName(a.name, b.name));
  return { smears, passedOver };
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
  const classes = new Set(LABELS.flatMap((label): string[] => [label, `${label}s`]));
  return holdsImages || folders.every(({ path }) => classes.has((path[1] ?? "").toLowerCase()));
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
