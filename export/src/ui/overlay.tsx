/** An activation map laid over a cell: where the picture speaks for an answer. */

import { useEffect, useRef } from "preact/hooks";
import type { ActivationMap } from "../engine/client";

/** Transparent where nothing speaks, then green to yellow: colours that no stain has. */
const RAMP = [
  [0, 140, 120],
  [40, 200, 90],
  [250, 245, 80],
] as const;

/** Below this share of the strongest answer of either sign, a map shows nothing to speak of. */
const FAINT = 0.05;

/** What a map says for one sign. */
export type Speaking = { readonly values: Float32Array; readonly isFaint: boolean };

/**
 * The part of a signed map that speaks for an answer, from 0 to 1 at its strongest point.
 *
 * @param sign 1 for what raises the output, -1 for what lowers it.
 */
export function speaking(map: ActivationMap, sign: 1 | -1): Speaking {
  const values = map.values.map((value) => Math.max(0, sign * value));
  const most = values.reduce((a, b) => Math.max(a, b), 0);
  const loudest = map.values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const isFaint = most === 0 || most < FAINT * loudest;
  return { values: isFaint ? values.fill(0) : values.map((value) => value / most), isFaint };
}

/** Pixels a side that a map is drawn with; the browser stretches them over the picture. */
const SIDE = 192;

export function Overlay({
  map,
  speaks,
  opacity,
}: {
  map: ActivationMap;
  speaks: Speaking;
  opacity: number;
}) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (!context) return;
    const image = context.createImageData(SIDE, SIDE);
    for (let at = 0; at < SIDE * SIDE; at += 1) {
      const x = ((at % SIDE) + 0.5) / SIDE;
      const y = (Math.floor(at / SIDE) + 0.5) / SIDE;
      const value = valueAt(speaks.values, map, x, y);
      image.data.set([...colour(value), 255 * value ** 0.75], 4 * at);
    }
    context.putImageData(image, 0, 0);
  }, [map, speaks]);
  return (
    <canvas
      ref={canvas}
      class="overlay"
      width={SIDE}
      height={SIDE}
      style={{ opacity }}
      role="img"
      aria-label="Activation map"
    />
  );
}

/** A map's value between its fields, at a place from 0 to 1: bilinear, half-pixel centres. */
function valueAt(
  values: Float32Array,
  { width, height }: ActivationMap,
  x: number,
  y: number,
): number {
  const [left, right, across] = between(x, width);
  const [top, bottom, down] = between(y, height);
  const of = (row: number, column: number) => values[row * width + column] ?? 0;
  const above = of(top, left) + across * (of(top, right) - of(top, left));
  const below = of(bottom, left) + across * (of(bottom, right) - of(bottom, left));
  return above + down * (below - above);
}

function between(at: number, count: number): [number, number, number] {
  const place = Math.min(Math.max(at * count - 0.5, 0), count - 1);
  const first = Math.floor(place);
  return [first, Math.min(first + 1, count - 1), place - first];
}

function colour(value: number): [number, number, number] {
  const at = value * (RAMP.length - 1);
  const step = Math.min(Math.floor(at), RAMP.length - 2);
  const [from, to] = [RAMP[step], RAMP[step + 1]];
  if (!from || !to) return [0, 0, 0];
  const mix = (channel: 0 | 1 | 2) => from[channel] + (at - step) * (to[channel] - from[channel]);
  return [mix(0), mix(1), mix(2)];
}
