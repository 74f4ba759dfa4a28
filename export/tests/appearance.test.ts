import { describe, expect, test } from "vitest";
import { type Looked, lookWarnings, measure } from "../src/rules/appearance";
import { sha256 } from "../src/sha256";
import { bytes, readCases } from "./cases";

const CASES = readCases("appearance", "looks", "warnings");

/** A look as the table writes it. */
type Written = {
  height: number;
  width: number;
  pixels: string;
  depth: number;
  blue_over_green: number;
  blue_over_red: number;
  background: number;
};

function tiled(rgb: Uint8Array, width: number, height: number, [down, across]: [number, number]) {
  const whole = new Uint8Array(rgb.length * down * across);
  const row = width * 3;
  for (let y = 0; y < height * down; y += 1) {
    for (let x = 0; x < across; x += 1) {
      const from = (y % height) * row;
      whole.set(rgb.subarray(from, from + row), (y * across + x) * row);
    }
  }
  return whole;
}

describe("the table that Python's tests read too", () => {
  test.each(CASES.looks)("look: $why", async ({ rgb, width, height, repeat, look }) => {
    const [wide, high] = [width * repeat[1], height * repeat[0]];
    const whole = tiled(bytes(rgb), width, height, repeat);
    const found = measure(whole, wide, high);
    expect([found.height, found.width]).toEqual([look.height, look.width]);
    expect(found.depth).toBeCloseTo(look.depth, 9);
    expect(found.blueOverGreen).toBeCloseTo(look.blue_over_green, 9);
    expect(found.blueOverRed).toBeCloseTo(look.blue_over_red, 9);
    expect(found.background).toBeCloseTo(look.background, 9);
    const hashed = new Uint8Array([...whole, ...new TextEncoder().encode(`${high}x${wide}`)]);
    expect((await sha256(hashed)).slice(0, 32)).toBe(look.pixels);
  });

  test.each(CASES.warnings)("warnings: $why", ({ cells, warnings }) => {
    const looked = cells.map(
      ({ file, label, look }: { file: string; label: string; look: Written }): Looked => {
        const { blue_over_green: blueOverGreen, blue_over_red: blueOverRed, ...others } = look;
        return { file, label, look: { ...others, blueOverGreen, blueOverRed } };
      },
    );
    expect(lookWarnings(looked)).toEqual(warnings);
  });
});

test("the hash is the same where the browser does not offer one", async () => {
  const data = Uint8Array.from({ length: 1000 }, (_, nth) => nth % 251);
  const offered = await sha256(data);
  const before = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  Object.defineProperty(globalThis, "crypto", { value: {}, configurable: true });
  try {
    expect(await sha256(data)).toBe(offered);
  } finally {
    Object.defineProperty(globalThis, "crypto", before as PropertyDescriptor);
  }
  expect(offered).toMatch(/^[0-9a-f]{64}$/);
});
