/** TIFF, which browsers do not decode: grey, palette or RGB, 1, 8 or 16 bits, its first page. */

import { decode } from "tiff";
import { Refused, told } from "../errors";
import type { Pixels } from "./decode";
import type { Header } from "./headers";

type Page = ReturnType<typeof decode>[number];

/**
 * Decode a TIFF whose header was read.
 *
 * @returns its pixels as stored, on white where they are transparent.
 * @throws Refused when they are damaged, or packed in a way that the library does not know.
 */
export function decodeTiff(header: Header): Pixels {
  const page = firstPage(header.data);
  const { width, height } = page;
  if (width !== header.width || height !== header.height) {
    throw new Refused("its size differs from what its header says");
  }
  if (page.planarConfiguration !== 1 && page.samplesPerPixel > 1) {
    throw unsupported("a plane for each colour");
  }
  const rgb = new Uint8Array(width * height * 3);
  const colour = colourOf(page, header.alpha);
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      rgb[3 * pixel + channel] = colour(pixel, channel);
    }
  }
  return { width, height, rgb };
}

function firstPage(data: Uint8Array): Page {
  try {
    const [page] = decode(data, { pages: [0] });
    if (page) return page;
  } catch (error) {
    throw unsupported(told(error));
  }
  throw new Refused("the TIFF holds no image");
}

function colourOf(page: Page, alpha: Header["alpha"]): (pixel: number, channel: number) => number {
  const { data, samplesPerPixel: samples, bitsPerSample: bits } = page;
  if (page.type === 3) {
    const map = page.palette;
    if (!map) throw unsupported("a palette without colours");
    // Some programs write the palette's colours with 8 bits, where 16 are asked for.
    const scale = map.some((entry) => Math.max(...entry) > 255) ? 255 / 65535 : 1;
    return (pixel, channel) => Math.floor((map[data[pixel] ?? 0]?.[channel] ?? 0) * scale);
  }
  const largest = 2 ** bits - 1;
  const level = (at: number) => Math.round(((data[at] ?? 0) * 255) / largest);
  if (samples < 3) return (pixel) => level(pixel * samples);
  if (!alpha) return (pixel, channel) => level(pixel * samples + channel);
  return (pixel, channel) => {
    const opacity = level(pixel * samples + 3);
    const stored = level(pixel * samples + channel);
    const shown = alpha === "straight" ? Math.floor((stored * opacity + 127) / 255) : stored;
    return Math.min(shown + 255 - opacity, 255);
  };
}

function unsupported(what: string): Refused {
  return new Refused(
    `the TIFF data are damaged or of a kind that is not supported here (${what}); save it as PNG`,
  );
}
