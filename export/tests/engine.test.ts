import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Bundles } from "../src/engine/bundles";
import { oneImageACall } from "../src/engine/flatbuffer";
import { checkAnswer, type Networks, prove } from "../src/engine/networks";
import { readNpz } from "../src/engine/npz";
import type { Role } from "../src/engine/types";
import { CellnetError } from "../src/errors";
import { resize } from "../src/images/resize";
import { bytes, readCases } from "./cases";

const MODELS = join(import.meta.dirname, "..", "..", "models");
const shipped = (path: string) => new Uint8Array(readFileSync(join(MODELS, path)));

describe("the resize", () => {
  test.each(readCases("resize", "images").images)("as Python's: $why", (it) => {
    const { width, height, rgb, size, values } = it;
    const found = resize({ width, height, rgb: bytes(rgb) }, size, size, 1, 0);
    const expected = new Float32Array(bytes(values).buffer);
    expect(found.length).toBe(expected.length);
    found.forEach((value, nth) => {
      expect(Math.abs(value - (expected[nth] as number))).toBeLessThan(1e-3);
    });
  });

  test("scale and offset come after it", () => {
    const rgb = Uint8Array.from([0, 51, 255]);
    expect(Array.from(resize({ width: 1, height: 1, rgb }, 1, 1, 1 / 255, -0.5))).toEqual(
      Array.from(Float32Array.from([-0.5, -0.3, 0.5])),
    );
  });
});

describe("golden files", () => {
  test.each([
    ["model1", 8],
    ["dysplasianet", 1],
  ])("that of %s is read as NumPy wrote it", async (name, outputs) => {
    const arrays = await readNpz(shipped(`${name}/golden.npz`));
    expect(arrays.get("images")?.shape).toEqual([11, 120, 120, 3]);
    expect(arrays.get("images")?.values).toBeInstanceOf(Uint8Array);
    expect(arrays.get("images")?.values.length).toBe(11 * 120 * 120 * 3);
    expect(arrays.get("outputs")?.shape).toEqual([11, outputs]);
    const rows = Array.from({ length: 11 }, (_, row) =>
      Array.from(arrays.get("outputs")?.values.subarray(row * outputs, (row + 1) * outputs) ?? []),
    );
    for (const row of rows) {
      expect(row.every((value) => value >= 0 && value <= 1)).toBe(true);
      if (outputs === 8) expect(row.reduce((sum, value) => sum + value, 0)).toBeCloseTo(1, 5);
    }
  });

  test("what is none says so", async () => {
    const whole = shipped("dysplasianet/golden.npz");
    const damaged = whole.slice();
    damaged.fill(0, 100, 200);
    for (const file of [new Uint8Array(), new Uint8Array(100), whole.slice(0, -30), damaged]) {
      await expect(readNpz(file)).rejects.toThrow(CellnetError);
    }
  });
});

describe("one image a call", () => {
  test.each(["model1", "dysplasianet"])("the weights of %s differ in nothing else", (name) => {
    const before = shipped(`${name}/model.tflite`);
    const after = oneImageACall(before);
    expect(after.length).toBe(before.length);
    const changed: number[] = [];
    for (let at = 0; at < before.length; at += 1) if (before[at] !== after[at]) changed.push(at);
    // Four bytes a tensor whose number of images was open, -1 before and 1 after.
    expect(changed.length % 4).toBe(0);
    expect(changed.length).toBeGreaterThanOrEqual(4 * 10);
    expect(changed.every((at) => before[at] === 0xff)).toBe(true);
    expect(changed.every((at) => after[at] === [1, 0, 0, 0][at % 4])).toBe(true);
    expect(Buffer.compare(oneImageACall(after), after)).toBe(0);
  });

  test("what is no flatbuffer is refused", () => {
    expect(() => oneImageACall(new Uint8Array([255, 255, 255, 255, 1]))).toThrow(CellnetError);
    expect(() => oneImageACall(new Uint8Array())).toThrow(CellnetError);
  });
});

describe("answers are believed when they can be", () => {
  const engine = { name: "wasm", label: "a test", threads: 1 } as const;
  const sure = [0, 0, 0, 0, 0, 0, 1, 0];

  test.each([
    ["probabilities that add up to two", "model1", [...sure.slice(0, 7), 1]],
    ["all zero, as of a processor that is gone", "model1", Array(8).fill(0)],
    ["no number", "model1", [...sure.slice(0, 7), Number.NaN]],
    ["a negative one", "model1", [-0.5, 0.5, 0, 0, 0, 0, 1, 0]],
    ["a score that is no number", "dysplasianet", [Number.NaN]],
    ["a score above one", "dysplasianet", [1.5]],
  ] as [string, Role, number[]][])("%s: no", (_why, role, numbers) => {
    expect(() => checkAnswer(role, numbers, engine)).toThrow("answered what it never does");
  });

  test("what a network answers: yes", () => {
    checkAnswer("model1", sure, engine);
    checkAnswer("model1", Array(8).fill(0.125), engine);
    checkAnswer("dysplasianet", [0], engine);
  });

  const golden = {
    images: [{ width: 1, height: 1, rgb: new Uint8Array(3) }],
    outputs: [sure] as number[][],
  };
  const bundles = {
    model1: { golden },
    dysplasianet: { golden: { ...golden, outputs: [[0.5]] } },
  } as unknown as Bundles;
  const networks = (naming: number[], scoring: number[]) =>
    ({
      batch: 1,
      answer: async (role: Role) => [role === "model1" ? naming : scoring],
    }) as unknown as Networks;

  test("an engine that gives the golden answers is proved, and timed", async () => {
    expect(await prove(networks(sure, [0.5]), bundles)).toBeGreaterThanOrEqual(0);
  });

  test.each([
    ["other probabilities", [0, 0, 0, 0, 0, 0.05, 0.95, 0], [0.5]],
    ["another score", sure, [0.51]],
    ["no numbers", sure, [Number.NaN]],
    ["too few numbers", sure, []],
  ])("%s: not", async (_why, naming, scoring) => {
    await expect(prove(networks(naming, scoring), bundles)).rejects.toThrow("it answers wrongly");
  });
});
