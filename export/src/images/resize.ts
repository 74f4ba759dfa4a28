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
  const at = (place: number) => rgb[place] as number;
  let to = 0;
  for (let y = 0; y < height; y += 1) {
    const upper = 3 * wide * (down.first[y] as number);
    const lower = 3 * wide * (down.second[y] as number);
    const below = down.share[y] as number;
    for (let x = 0; x < width; x += 1, to += 3) {
      const left = 3 * (across.first[x] as number);
      const right = 3 * (across.second[x] as number);
      const beside = across.share[x] as number;
      // The four neighbours, and what each of them counts. Written out, since a loop over the three
      // channels takes half as long again.
      const a = upper + left;
      const b = upper + right;
      const c = lower + left;
      const d = lower + right;
      const ofA = (1 - beside) * (1 - below) * scale;
      const ofB = beside * (1 - below) * scale;
      const ofC = (1 - beside) * below * scale;
      const ofD = beside * below * scale;
      resized[to] = at(a) * ofA + at(b) * ofB + at(c) * ofC + at(d) * ofD + offset;
      resized[to + 1] =
        at(a + 1) * ofA + at(b + 1) * ofB + at(c + 1) * ofC + at(d + 1) * ofD + offset;
      resized[to + 2] =
        at(a + 2) * ofA + at(b + 2) * ofB + at(c + 2) * ofC + at(d + 2) * ofD + offset;
    }
  }
  return resized;
}

/** For each place of the output: the two places of the input, and the share of the second. */
type Taps = {
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly share: Float64Array;
};

function taps(from: number, to: number): Taps {
  const first = new Int32Array(to);
  const second = new Int32Array(to);
  const share = new Float64Array(to);
  for (let place = 0; place < to; place += 1) {
    const at = Math.min(Math.max(((place + 0.5) * from) / to - 0.5, 0), from - 1);
    first[place] = Math.floor(at);
    second[place] = Math.min(Math.floor(at) + 1, from - 1);
    share[place] = at - Math.floor(at);
  }
  return { first, second, share };
}
