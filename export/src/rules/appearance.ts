/**
 * How an image looks, as far as it decides whether the networks' answers can be trusted: the same
 * measurements, ranges and sentences as `cellnet/appearance.py`, which says where they come from.
 */

import { fixed, some } from "../report/text";

const DEPTH = [0.5, 1.2] as const;
const BLUE_OVER_GREEN = [60, 150] as const;
const BLUE_OVER_RED = [10, 100] as const;
const BACKGROUND = [180, 252] as const;

const LARGEST_SIDE = 600;
const SMALLEST_SIDE = 64;
const LARGEST_RATIO = 1.5;

/** Pixels a side that are enough for the medians. */
const SAMPLES = 64;
/** Fewer cells than this say nothing of a smear. */
const FEW = 5;

/** What `measure` found on one image; lengths in pixels, colours in grey levels of 255. */
export type Look = {
  readonly height: number;
  readonly width: number;
  /** Hash of the pixels; equal for exact copies, whatever the file's format. */
  readonly pixels: string;
  /** Optical density in green of the darkest twentieth against the brightest part. */
  readonly depth: number;
  readonly blueOverGreen: number;
  readonly blueOverRed: number;
  /** Green of the brightest part. */
  readonly background: number;
};

/**
 * Measure one image.
 *
 * @param rgb `height * width * 3` values, row by row.
 * @returns all of its look but the hash.
 */
export function measure(
  rgb: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
): Omit<Look, "pixels"> {
  const step = Math.max(1, Math.floor(Math.min(height, width) / SAMPLES));
  const samples: Sample[] = [];
  for (let y = 0; y < height; y += step) {
    for (let x = 0; x < width; x += step) {
      const at = 3 * (y * width + x);
      samples.push([rgb[at] as number, rgb[at + 1] as number, rgb[at + 2] as number]);
    }
  }
  const share = Math.max(1, Math.floor(samples.length / 20));
  // Nuclei are dark in both; red cells are bright in red.
  const level = ([red, green]: Sample) => red + green;
  const darkest = nth(samples.map(level), share - 1);
  const dark = samples.filter((sample) => level(sample) <= darkest);
  const brightest = nth(
    samples.map((sample) => sample[1]),
    Math.max(0, samples.length - 3 * share),
  );
  const bright = samples.filter((sample) => sample[1] >= brightest);
  const [red, green, blue] = ([0, 1, 2] as const).map((channel) =>
    median(dark.map((sample) => sample[channel])),
  ) as Sample;
  const background = median(bright.map((sample) => sample[1]));
  return {
    height,
    width,
    depth: Math.log10(Math.max(background, 1) / Math.max(green, 1)),
    blueOverGreen: blue - green,
    blueOverRed: blue - red,
    background,
  };
}

type Sample = [number, number, number];

/** A cell as far as its look is judged: platelets have no nucleus and say nothing of the stain. */
export type Looked = { readonly file: string; readonly label: string; readonly look: Look };

/** Say for people what is odd about a smear's images. */
export function lookWarnings(cells: readonly Looked[]): string[] {
  const nucleated = cells.filter((cell) => cell.label !== "platelet").map((cell) => cell.look);
  return [
    ...(nucleated.length >= FEW ? stainWarnings(nucleated) : []),
    ...sizeWarnings(cells),
    ...copyWarnings(cells),
  ];
}

function stainWarnings(looks: readonly Look[]): string[] {
  const middle = (value: (look: Look) => number) => median(looks.map(value));
  const depth = middle((look) => look.depth);
  const found: string[] = [];
  if (depth < DEPTH[0] || depth > DEPTH[1]) {
    found.push(
      `${depth < DEPTH[0] ? "under" : "over"}-stained smear: nuclei have an optical density of ` +
        `${fixed(depth, 2)} in green, the models know ${DEPTH[0]} to ${DEPTH[1]}`,
    );
  }
  const rules = [
    ["blue of the nuclei over their green", middle((look) => look.blueOverGreen), BLUE_OVER_GREEN],
    ["blue of the nuclei over their red", middle((look) => look.blueOverRed), BLUE_OVER_RED],
    ["green of the background", middle((look) => look.background), BACKGROUND],
  ] as const;
  for (const [name, value, [low, high]] of rules) {
    if (value < low || value > high) {
      found.push(
        `off-colour smear: ${name} is ${fixed(value, 0)} grey levels, the models know ` +
          `${low} to ${high}`,
      );
    }
  }
  return found;
}

function sizeWarnings(cells: readonly Looked[]): string[] {
  const odd = cells.filter(({ look }) => {
    const longer = Math.max(look.height, look.width);
    const shorter = Math.min(look.height, look.width);
    return longer > LARGEST_SIDE || shorter < SMALLEST_SIDE || longer > LARGEST_RATIO * shorter;
  });
  if (odd.length === 0) return [];
  const named = odd.map(({ file, look }) => `${file} (${look.width} x ${look.height})`);
  return [
    `not the size of one cell: ${odd.length} of ${cells.length} images, where ${SMALLEST_SIDE} to ` +
      `${LARGEST_SIDE} pixels a side are usual: ${some(named)}`,
  ];
}

/** Find the images that repeat an earlier one pixel by pixel: by each copy, the first file. */
export function findCopies(cells: readonly Pick<Looked, "file" | "look">[]): Map<string, string> {
  const first = new Map<string, string>();
  const copies = new Map<string, string>();
  for (const { file, look } of cells) {
    const earlier = first.get(look.pixels);
    if (earlier === undefined) first.set(look.pixels, file);
    else copies.set(file, earlier);
  }
  return copies;
}

function copyWarnings(cells: readonly Looked[]): string[] {
  const copies = [...findCopies(cells)].map(([copy, first]) => `${copy} = ${first}`);
  if (copies.length === 0) return [];
  return [
    `exact copies: ${copies.length} of ${cells.length} images repeat another; they are counted, ` +
      `but add nothing to how sure the decision is: ${some(copies)}`,
  ];
}

/** The value that stands at a place once the values are sorted. */
function nth(values: readonly number[], place: number): number {
  return Float64Array.from(values).sort()[place] as number;
}

function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  const upper = sorted[half] as number;
  return sorted.length % 2 ? upper : ((sorted[half - 1] as number) + upper) / 2;
}
