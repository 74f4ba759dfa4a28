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
  const across = taps(wide, width, 3);
  const down = taps(high, height, 3 * wide);
  const resized = new Float32Array(width * height * 3);
  let to = 0;
  for (const [above, below, low] of down) {
    for (const [left, right, near] of across) {
      for (let channel = 0; channel < 3; channel += 1) {
        const from = left + channel;
        const next = right + channel;
        const upper = mix(rgb[above + from] as number, rgb[above + next] as number, near);
        const lower = mix(rgb[below + from] as number, rgb[below + next] as number, near);
        resized[to] = mix(upper, lower, low) * scale + offset;
        to += 1;
      }
    }
  }
  return resized;
}

function mix(one: number, other: number, share: number): number {
  return one + (other - one) * share;
}

/** For each place of the output: the two places of the input, and the share of the second. */
function taps(from: number, to: number, step: number): [number, number, number][] {
  return Array.from({ length: to }, (_, place) => {
    const at = Math.min(Math.max(((place + 0.5) * from) / to - 0.5, 0), from - 1);
    const first = Math.floor(at);
    return [first * step, Math.min(first + 1, from - 1) * step, at - first];
  });
}
