/**
 * Files in, RGB pixels out: the only code of the app that opens an image. JPEG, PNG, BMP and WebP
 * are decoded by the browser, TIFF (its first page) by a library that is loaded when it is needed.
 * As in `cellnet/images.py`, transparent pixels stand on white, colour profiles are ignored, images
 * stand upright, limits are checked before decoding, and what cannot be used says why.
 */

import { Refused, told } from "../errors";
import { type Format, type Header, MAX_PIXELS, readHeader } from "./headers";

/** Larger files are refused before reading. */
export const MAX_BYTES = 128 * 2 ** 20;

/** An upright image: `height * width * 3` bytes, row by row, red, green, blue. */
export type Pixels = {
  readonly width: number;
  readonly height: number;
  readonly rgb: Uint8Array<ArrayBuffer>;
};

const MIME: Readonly<Record<Exclude<Format, "TIFF">, string>> = {
  JPEG: "image/jpeg",
  PNG: "image/png",
  BMP: "image/bmp",
  WebP: "image/webp",
};

/**
 * Decode an image file.
 *
 * @throws Refused with the reason, when it cannot be used.
 */
export async function decodeImage(blob: Blob): Promise<Pixels> {
  if (blob.size > MAX_BYTES) {
    throw new Refused(`the file has ${blob.size} bytes; the limit is ${MAX_BYTES}`);
  }
  const header = readHeader(await readBytes(blob));
  if (header.width < 1 || header.height < 1) {
    throw new Refused(`its header says ${header.width} x ${header.height} pixels`);
  }
  if (header.width * header.height > MAX_PIXELS) {
    throw new Refused(
      `it has ${header.width} x ${header.height} pixels; the limit is ${MAX_PIXELS}`,
    );
  }
  const stored =
    header.format === "TIFF"
      ? (await import("./tiff")).decodeTiff(header)
      : await decodeByBrowser(header, MIME[header.format]);
  return upright(stored, header.orientation);
}

async function readBytes(blob: Blob): Promise<Uint8Array> {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (error) {
    const gone = error instanceof DOMException && error.name === "NotFoundError";
    throw new Refused(
      gone ? "there is no such file" : `it cannot be read (${told(error)}); was it changed since?`,
    );
  }
}

async function decodeByBrowser(header: Header, type: string): Promise<Pixels> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(new Blob([header.data as Uint8Array<ArrayBuffer>], { type }), {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
      imageOrientation: "from-image",
    });
  } catch {
    throw new Refused(`the ${header.format} data are damaged or of a kind that is not supported`);
  }
  try {
    const { width, height } = bitmap;
    const isAsStored = width === header.width && height === header.height;
    const isTurned = width === header.height && height === header.width;
    if (!isAsStored && !isTurned) throw new Refused("its size differs from what its header says");
    return { width, height, rgb: pixelsOf(bitmap) };
  } finally {
    bitmap.close();
  }
}

/** Read a bitmap's colours, on white where it is transparent. */
function pixelsOf(bitmap: ImageBitmap): Uint8Array<ArrayBuffer> {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  if (!context) throw new Refused(`the browser has no room for ${width} x ${height} pixels`);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingEnabled = false;
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height, { colorSpace: "srgb" }).data;
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    rgb[to] = rgba[from] as number;
    rgb[to + 1] = rgba[from + 1] as number;
    rgb[to + 2] = rgba[from + 2] as number;
  }
  return rgb;
}

/** Undo EXIF's orientation (EXIF 2.3, tag 274). */
export function upright(stored: Pixels, orientation: number): Pixels {
  if (orientation === 1) return stored;
  const isTransposed = orientation >= 5;
  const [width, height] = isTransposed
    ? [stored.height, stored.width]
    : [stored.width, stored.height];
  const isMirrored = [2, 3, 6, 7].includes(orientation);
  const isFlipped = [3, 4, 7, 8].includes(orientation);
  const rgb = new Uint8Array(stored.rgb.length);
  for (let y = 0; y < height; y += 1) {
    const across = isFlipped ? height - 1 - y : y;
    for (let x = 0; x < width; x += 1) {
      const along = isMirrored ? width - 1 - x : x;
      const from =
        3 * (isTransposed ? along * stored.width + across : across * stored.width + along);
      const to = 3 * (y * width + x);
      for (let channel = 0; channel < 3; channel += 1) {
        rgb[to + channel] = stored.rgb[from + channel] as number;
      }
    }
  }
  return { width, height, rgb };
}

/**
 * Check that the browser hands over an image's pixels as they are: some change what is read from a
 * canvas a little, so that sites cannot recognise a computer by it, and with it every answer.
 *
 * @throws Refused where it does not.
 */
export async function checkPixels(): Promise<void> {
  const [width, height] = [16, 12];
  const colours = Uint8Array.from(
    { length: width * height * 3 },
    (_, nth) => (nth * 151 + 7) % 256,
  );
  const { rgb } = await decodeImage(new Blob([bitmapFile(width, height, colours)]));
  if (rgb.some((value, nth) => value !== colours[nth])) {
    throw new Refused(
      "this browser changes the colours that a page reads from an image (protection against " +
        "fingerprinting); allow this page to read them, or use another browser",
    );
  }
}

/** An uncompressed BMP, top row first. */
function bitmapFile(width: number, height: number, rgb: Uint8Array): Uint8Array<ArrayBuffer> {
  const stride = Math.ceil((3 * width) / 4) * 4;
  const file = new Uint8Array(54 + stride * height);
  const bytes = new DataView(file.buffer);
  bytes.setUint16(0, 0x424d);
  bytes.setUint32(2, file.length, true);
  bytes.setUint32(10, 54, true);
  bytes.setUint32(14, 40, true);
  bytes.setInt32(18, width, true);
  bytes.setInt32(22, -height, true);
  bytes.setUint16(26, 1, true);
  bytes.setUint16(28, 24, true);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (let channel = 0; channel < 3; channel += 1) {
        file[54 + y * stride + 3 * x + channel] = rgb[3 * (y * width + x) + 2 - channel] as number;
      }
    }
  }
  return file;
}
