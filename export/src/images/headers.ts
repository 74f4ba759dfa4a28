/**
 * What an image file says about itself before anything is decoded: format, size, transparency.
 * The same checks and reasons as `cellnet/headers.py`: browsers decode a file whose end is missing
 * without a word, so its table of contents is walked first.
 */

import { Refused } from "../errors";

/** Larger images are refused before decoding. */
export const MAX_PIXELS = 32_000_000;

export type Format = "JPEG" | "PNG" | "BMP" | "TIFF" | "WebP";

export type Header = {
  readonly format: Format;
  /** In pixels, as stored (before any rotation). */
  readonly width: number;
  readonly height: number;
  /** What the decoder gives beside the colours. */
  readonly alpha: "" | "straight" | "premultiplied";
  /** EXIF's, 1 to 8, where the decoder does not apply it by itself; else 1. */
  readonly orientation: number;
  /** The bytes to decode: the file's own, less what could change or confuse the decoder. */
  readonly data: Uint8Array;
};

const TRUNCATED = "the file is truncated: its end is missing";

const OTHERS: readonly (readonly [string, string])[] = [
  ["GIF8", "a GIF file"],
  ["%PDF", "a PDF file"],
  ["PK\x03\x04", "a ZIP archive"],
  ["\x1f\x8b", "a gzip archive"],
  ["\0\0\0\x0cjP  ", "a JPEG 2000 file"],
  ["\xff\x4f\xff\x51", "a JPEG 2000 file"],
  ["<svg", "an SVG drawing"],
  ["<!DO", "an HTML page"],
  ["<htm", "an HTML page"],
  ["\0\0\0\x01Bud1", "a desktop file"],
];

/**
 * Read format and size, and check that the file is whole. The content decides on the format, not
 * the name.
 *
 * @throws Refused when the bytes are empty, of another format, truncated or damaged in a way that
 *   shows without decoding.
 */
export function readHeader(data: Uint8Array): Header {
  if (data.length === 0) throw new Refused("the file is empty");
  try {
    if (begins(data, "\xff\xd8")) return jpeg(data);
    if (begins(data, "\x89PNG\r\n\x1a\n")) return png(data);
    if (begins(data, "BM") && data.length > 14) return bmp(data);
    if (["II*\0", "MM\0*", "II+\0", "MM\0+"].some((magic) => begins(data, magic)))
      return tiff(data);
    if (begins(data, "RIFF") && latin(data, 8, 12) === "WEBP") return webp(data);
  } catch (error) {
    // What a view says of a place behind the end.
    if (error instanceof RangeError) throw new Refused(TRUNCATED);
    throw error;
  }
  throw new Refused(`it is ${guess(data)}, not a JPEG, PNG, BMP, TIFF or WebP image`);
}

/** Refuse a file of several images: which of them is the cell is not ours to choose. */
function refuseSeveral(kind: Format, what: string, number: number): void {
  if (number > 1) {
    throw new Refused(
      `the ${kind} holds ${number} ${what}, and one image is one cell; save each as a file`,
    );
  }
}

function guess(data: Uint8Array): string {
  const known = OTHERS.find(([magic]) => begins(data, magic));
  if (known) return known[1];
  if (latin(data, 4, 8) === "ftyp") return "a video, AVIF or HEIC file";
  const start = data.subarray(0, 512);
  if (start.every((byte) => byte === 0)) return "a file of zeros";
  const isBlank = (byte: number) => (byte >= 9 && byte <= 13) || (byte >= 28 && byte <= 32);
  const isAscii = start.every((byte) => byte < 128);
  const isText = start.some((byte) => !isBlank(byte)) || start.every((byte) => byte === 32);
  return isAscii && isText ? "a text file" : "a file of unknown kind";
}

function latin(data: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...data.subarray(start, end));
}

function begins(data: Uint8Array, magic: string): boolean {
  return latin(data, 0, magic.length) === magic;
}

function view(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

// ------------------------------------------------------------------------------------ JPEG

function jpeg(data: Uint8Array): Header {
  const bytes = view(data);
  let size: readonly [number, number] | null = null;
  let position = 2;
  for (;;) {
    const found = nextMarker(data, position);
    if (found === null) throw new Refused(TRUNCATED);
    const [marker, behind] = found;
    position = behind;
    if (marker === 0xd9) {
      if (size === null) throw new Refused("the JPEG holds no image");
      return header("JPEG", ...size, data);
    }
    if (marker === 0x01 || marker === 0xd8) continue;
    const length = bytes.getUint16(position);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame && size === null) {
      const precision = bytes.getUint8(position + 2);
      size = [bytes.getUint16(position + 5), bytes.getUint16(position + 3)];
      if (precision !== 8) {
        throw new Refused(`JPEG with ${precision} bits a sample is not supported; save it as PNG`);
      }
    }
    position += length;
  }
}

/** The next marker and the place behind it; stuffed zeros and restarts are data. */
function nextMarker(data: Uint8Array, from: number): readonly [number, number] | null {
  let position = from;
  for (;;) {
    position = data.indexOf(0xff, position);
    if (position < 0) return null;
    while (data[position] === 0xff) position += 1;
    const marker = data[position];
    if (marker === undefined) return null;
    position += 1;
    if (marker !== 0 && !(marker >= 0xd0 && marker <= 0xd7)) return [marker, position];
  }
}

// ------------------------------------------------------------------------------------- PNG

function png(data: Uint8Array): Header {
  const bytes = view(data);
  const [width, height] = [bytes.getUint32(16), bytes.getUint32(20)];
  const colour = bytes.getUint8(25);
  if (latin(data, 12, 16) !== "IHDR") throw new Refused("the PNG does not begin with its header");
  const kept = [data.subarray(0, 8)];
  let alpha = colour === 4 || colour === 6;
  let orientation = 1;
  let position = 8;
  // One that is too large is refused by the caller: its chunks do not matter.
  while (width * height <= MAX_PIXELS) {
    const length = bytes.getUint32(position);
    const name = chunkName(data, position + 4);
    const end = position + 12 + length;
    if (end > data.length) throw new Refused(TRUNCATED);
    // Ancillary chunks (small first letter) go: colour profiles, gamma and animation would change
    // what a browser shows. Transparency stays.
    if (/^[A-Z]/.test(name) || name === "tRNS") {
      if (crc32(data.subarray(position + 4, end - 4)) !== bytes.getUint32(end - 4)) {
        throw new Refused(`the PNG is damaged: the checksum of its b'${name}' chunk is wrong`);
      }
      kept.push(data.subarray(position, end));
      alpha ||= name === "tRNS";
    } else if (name === "eXIf") {
      orientation = exifOrientation(data.subarray(position + 8, end - 4));
    } else if (name === "acTL") {
      refuseSeveral("PNG", "frames", bytes.getUint32(position + 8));
    }
    position = end;
    if (name === "IEND") break;
  }
  return header("PNG", width, height, joined(kept), alpha ? "straight" : "", orientation);
}

function chunkName(data: Uint8Array, at: number): string {
  if (at + 4 > data.length) throw new Refused(TRUNCATED);
  return latin(data, at, at + 4);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  return value;
});

function crc32(data: Uint8Array): number {
  let value = 0xffffffff;
  for (const byte of data) value = (value >>> 8) ^ (CRC_TABLE[(value ^ byte) & 0xff] as number);
  return (value ^ 0xffffffff) >>> 0;
}

// ------------------------------------------------------------------------------------- BMP

function bmp(data: Uint8Array): Header {
  const bytes = view(data);
  const start = bytes.getUint32(10, true);
  const size = bytes.getUint32(14, true);
  const isOld = size === 12;
  const width = isOld ? bytes.getUint16(18, true) : bytes.getInt32(18, true);
  // Negative where the rows stand top down.
  const height = isOld ? bytes.getUint16(20, true) : Math.abs(bytes.getInt32(22, true));
  const bits = bytes.getUint16(isOld ? 24 : 28, true);
  const compression = isOld ? 0 : bytes.getUint32(30, true);
  if ([0, 3, 6].includes(compression)) {
    // As they are, or with bit masks.
    if (start + Math.floor((width * bits + 31) / 32) * 4 * height > data.length) {
      throw new Refused(TRUNCATED);
    }
  } else if (data.length < bytes.getUint32(2, true)) {
    throw new Refused(TRUNCATED);
  }
  return header("BMP", width, height, withoutAlphaMask(data, size));
}

/** Python's decoder drops a BMP's transparency, which the newer headers' fourth mask brings. */
function withoutAlphaMask(data: Uint8Array, headerSize: number): Uint8Array {
  if (headerSize < 56 || data.length < 70) return data;
  const copy = data.slice();
  copy.fill(0, 66, 70);
  return copy;
}

// ------------------------------------------------------------------------------------ TIFF

type Read = (bytes: DataView, at: number, little: boolean) => number;
const byte: Read = (bytes, at) => bytes.getUint8(at);
const short: Read = (bytes, at, little) => bytes.getUint16(at, little);
const long: Read = (bytes, at, little) => bytes.getUint32(at, little);
const huge: Read = (bytes, at, little) => Number(bytes.getBigUint64(at, little));

/** By type: its size, and how to read it where it is a whole number. */
const TIFF_TYPES: Readonly<Record<number, readonly [number, Read?]>> = {
  1: [1, byte],
  2: [1],
  3: [2, short],
  4: [4, long],
  5: [8],
  6: [1, (bytes, at) => bytes.getInt8(at)],
  7: [1],
  8: [2, (bytes, at, little) => bytes.getInt16(at, little)],
  9: [4, (bytes, at, little) => bytes.getInt32(at, little)],
  10: [8],
  11: [4],
  12: [8],
  13: [4, long],
  16: [8, huge],
  17: [8],
  18: [8],
};

type TiffEntry = { readonly values: readonly number[]; readonly place: number };

type TiffDirectory = ReadonlyMap<number, TiffEntry>;

/** Walk from directory to directory: values (none where they are no whole numbers) by tag. */
function* tiffDirectories(data: Uint8Array): Generator<TiffDirectory, undefined> {
  const bytes = view(data);
  const little = begins(data, "II");
  const big = bytes.getUint16(2, little) === 43;
  const step = big ? 20 : 12;
  const pointer = big ? huge : long;
  const seen = new Set<number>();
  let start = pointer(bytes, big ? 8 : 4, little);
  while (start > 0 && !seen.has(start)) {
    seen.add(start);
    const number = (big ? huge : short)(bytes, start, little);
    start += big ? 8 : 2;
    if (start + number * step > data.length) throw new Refused(TRUNCATED);
    yield tiffEntries(data, start, number, big);
    start = pointer(bytes, start + number * step, little);
  }
}

function tiffEntries(data: Uint8Array, start: number, number: number, big: boolean): TiffDirectory {
  const bytes = view(data);
  const little = begins(data, "II");
  const [step, inline] = big ? [20, 8] : [12, 4];
  const pointer = big ? huge : long;
  const entries = new Map<number, TiffEntry>();
  for (let index = 0; index < number; index += 1) {
    const position = start + index * step;
    const tag = bytes.getUint16(position, little);
    const count = pointer(bytes, position + 4, little);
    const [size, read] = TIFF_TYPES[bytes.getUint16(position + 2, little)] ?? [1];
    let place = position + (big ? 12 : 8);
    if (size * count > inline) {
      place = pointer(bytes, place, little);
      if (place + size * count > data.length) throw new Refused(TRUNCATED);
    }
    const values = read
      ? Array.from({ length: count }, (_, nth) => read(bytes, place + nth * size, little))
      : [];
    entries.set(tag, { values, place });
  }
  return entries;
}

function tiff(data: Uint8Array): Header {
  const directories = tiffDirectories(data);
  const entries: TiffDirectory = directories.next().value ?? new Map();
  const tag = (number: number) => entries.get(number)?.values ?? [];
  const first = (number: number, otherwise: number) => tag(number)[0] ?? otherwise;
  const samples = first(277, 1);
  const photometric = first(262, 1);
  const bits = tag(258).length > 0 ? Math.max(...tag(258)) : 1;
  const kind = first(339, 1);
  if (bits > 16 || (kind !== 1 && kind !== 4)) {
    const what = { 2: "signed", 3: "floating-point" }[kind] ?? "";
    throw new Refused(
      `TIFF with ${bits}-bit ${what} samples is not supported; save it with 8 or 16 bits`,
    );
  }
  const offsets = tag(273).length > 0 ? tag(273) : tag(324);
  const lengths = [tag(279), tag(325)].find((found) => found.length > 0) ?? offsets.map(() => 1);
  if (offsets.length === 0) throw new Refused("the TIFF holds no image");
  if (offsets.some((offset, nth) => offset + (lengths[nth] ?? 0) > data.length)) {
    throw new Refused(TRUNCATED);
  }
  const colours = { 2: 3, 5: 4, 6: 3 }[photometric] ?? 1;
  let alpha: Header["alpha"] = "";
  if (samples > colours) {
    if (photometric !== 2 || samples !== 4) {
      throw new Refused("TIFF with extra channels is supported for RGB only; save it as RGB");
    }
    // Colours that nobody says anything about: taken as Python's decoder takes them.
    const isStraight = bits === 16 ? first(338, 0) !== 1 : first(338, 0) === 2;
    alpha = isStraight ? "straight" : "premultiplied";
  }
  refuseSeveral("TIFF", "pages", 1 + [...directories].filter(isPage).length);
  const turn = first(274, 1);
  const orientation = turn >= 1 && turn <= 8 ? turn : 1;
  // The decoder refuses turned images and rounds premultiplied colours: both are done afterwards.
  const decoded = data.slice();
  for (const [number, value] of [
    [274, 1],
    [338, 2],
  ] as const) {
    const entry = entries.get(number);
    if (entry) view(decoded).setUint16(entry.place, value, begins(data, "II"));
  }
  return header("TIFF", first(256, 0), first(257, 0), decoded, alpha, orientation);
}

/** Whether a further directory is an image of its own, not a smaller copy or a mask. */
function isPage(directory: TiffDirectory): boolean {
  const first = (number: number, otherwise: number) =>
    directory.get(number)?.values[0] ?? otherwise;
  return (first(254, 0) & 0b101) === 0 && first(255, 1) !== 2 && directory.has(256);
}

function exifOrientation(data: Uint8Array): number {
  const bare = begins(data, "Exif\0\0") ? data.subarray(6) : data;
  if (!begins(bare, "II") && !begins(bare, "MM")) return 1;
  try {
    const directory = tiffDirectories(bare).next().value;
    const value = directory?.get(274)?.values[0] ?? 1;
    return value >= 1 && value <= 8 ? value : 1;
  } catch (error) {
    if (error instanceof Refused || error instanceof RangeError) return 1;
    throw error;
  }
}

// ------------------------------------------------------------------------------------ WebP

function webp(data: Uint8Array): Header {
  const bytes = view(data);
  const size = bytes.getUint32(4, true);
  // The last padding byte is often left out.
  if (size + 8 > data.length + 1) throw new Refused(TRUNCATED);
  let [width, height] = [0, 0];
  let alpha = false;
  let orientation = 1;
  let decoded = data;
  let frames = 0;
  let position = 12;
  while (position + 8 <= Math.min(data.length, size + 8)) {
    const name = latin(data, position, position + 4);
    const length = bytes.getUint32(position + 4, true);
    const body = position + 8;
    if (name === "VP8X") {
      alpha = (bytes.getUint8(body) & 0x10) !== 0;
      width = 1 + (bytes.getUint16(body + 4, true) | (bytes.getUint8(body + 6) << 16));
      height = 1 + (bytes.getUint16(body + 7, true) | (bytes.getUint8(body + 9) << 16));
    } else if (name === "VP8L" && width === 0) {
      const bits = bytes.getUint32(body + 1, true);
      [width, height] = [1 + (bits & 0x3fff), 1 + ((bits >>> 14) & 0x3fff)];
      alpha = ((bits >>> 28) & 1) === 1;
    } else if (name === "VP8 " && width === 0) {
      width = bytes.getUint16(body + 6, true) & 0x3fff;
      height = bytes.getUint16(body + 8, true) & 0x3fff;
    } else if (name === "EXIF") {
      orientation = exifOrientation(data.subarray(body, body + length));
      // Some browsers turn a WebP by it and some do not: under another name none does.
      decoded = decoded.slice();
      decoded.set([0x58, 0x58, 0x58, 0x58], position);
    } else if (name === "ANMF") {
      frames += 1;
    }
    position = body + length + (length % 2);
  }
  refuseSeveral("WebP", "frames", frames);
  return header("WebP", width, height, decoded, alpha ? "straight" : "", orientation);
}

function header(
  format: Format,
  width: number,
  height: number,
  data: Uint8Array,
  alpha: Header["alpha"] = "",
  orientation = 1,
): Header {
  return { format, width, height, alpha, orientation, data };
}
