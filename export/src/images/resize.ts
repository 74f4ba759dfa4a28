/** The one resize of cellnet, where an engine does not do it itself; see `cellnet/images.py`. */

import type { Pixels } from "./decode";

/**
 * Bring an image to a network's input: bilinear with half-pixel centres and without antialiasing,
 * the sides scaled apart, then `value * scale + offset`.
 *
 * @returns `height * width * 3` numbers, row by row.
 */
export function resize(
  { width: wide, height: high, rgb }: Pixels,
  width: number,
  height: number,
  scale: number,
  offset: number,
): Float32Array<ArrayBuffer> {
  const across = taps(wide, width);
  const down = taps(high, height);
  const resized = new Float32Array(width * height * 3);
  const rows = [new Float32Array(width * 3), new Float32Array(width * 3)] as const;
  // Which row of the image each of the two holds, brought to the width wanted.
  const held = [-1, -1];
  const row = (y: number): Float32Array => {
    const place = y & 1;
    if (held[place] !== y) {
      stretch(rgb, y * wide * 3, across, rows[place] as Float32Array);
      held[place] = y;
    }
    return rows[place] as Float32Array;
  };
  for (let y = 0; y < height; y += 1) {
    const upper = row(down.first[y] as number);
    const lower = row(down.second[y] as number);
    const share = down.share[y] as number;
    const start = y * width * 3;
    for (let at = 0; at < width * 3; at += 1) {
      const above = upper[at] as number;
      const value = above + ((lower[at] as number) - above) * share;
      resized[start + at] = value * scale + offset;
    }
  }
  return resized;
}

/** Bring one row to another width. */
function stretch(rgb: Uint8Array, start: number, across: Taps, row: Float32Array): void {
  const { first, second, share } = across;
  for (let x = 0, to = 0; x < first.length; x += 1) {
    const left = start + 3 * (first[x] as number);
    const right = start + 3 * (second[x] as number);
    const near = share[x] as number;
    for (let channel = 0; channel < 3; channel += 1, to += 1) {
      const value = rgb[left + channel] as number;
      row[to] = value + ((rgb[right + channel] as number) - value) * near;
    }
  }
}

/** For each place of the output: the two places of the input, and the share of the second. */
type Taps = {
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly share: Float32Array;
};

function taps(from: number, to: number): Taps {
  const first = new Int32Array(to);
  const second = new Int32Array(to);
  const share = new Float32Array(to);
  for (let place = 0; place < to; place += 1) {
    const at = Math.min(Math.max(((place + 0.5) * from) / to - 0.5, 0), from - 1);
    first[place] = Math.floor(at);
    second[place] = Math.min(Math.floor(at) + 1, from - 1);
    share[place] = at - Math.floor(at);
  }
  return { first, second, share };
}
