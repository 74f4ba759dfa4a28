import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { CLASSES, LABELS, type Label } from "../src/cells";
import type { Reading } from "../src/engine/types";
import { CellnetError } from "../src/errors";
import { reportFile, reportJson } from "../src/report/json";
import { isDysplastic, isSuspected, type OperatingPoint } from "../src/rules/operating-point";
import { judge, nameCell, type SmearContent } from "../src/rules/smear";
import { readCases } from "./cases";

const CASES = readCases("smear", "naming", "smears");
const POINTS = readCases("operating_point", "cells", "smears");

const IDENTITY = { name: "n", version: "1.0.0", sha256: "0".repeat(64) };
const MODELS = { model1: IDENTITY, dysplasianet: IDENTITY };

function point(cutoff: number, threshold: number, minimumNeutrophils: number): OperatingPoint {
  return { cutoff, threshold, minimumNeutrophils, cell: null, smear: null };
}

/** A cell of this label, certain but for `other`. */
function reading(label: Label, granularity: number | null = null, number = 0): Reading {
  const look = { height: 363, width: 360, depth: 0.8, blueOverGreen: 95, blueOverRed: 47 };
  return {
    file: `cell-${String(number).padStart(4, "0")}.png`,
    probabilities: CLASSES.map((name) => (label === "other" ? 1 / 8 : Number(name === label))),
    granularity,
    look: { ...look, background: 230, pixels: String(number) },
    width: 360,
    height: 363,
  };
}

function smear(readings: readonly Reading[], more: Partial<SmearContent> = {}): SmearContent {
  return {
    name: "smear-1",
    readings,
    unreadable: [],
    passedOver: [],
    scores: new Map(),
    corrections: new Map(),
    ...more,
  };
}

describe("the table that Python's tests read too", () => {
  test.each(CASES.naming)("naming: $why", ({ probabilities, label, probability }) => {
    expect(nameCell(probabilities)).toEqual([label, probability]);
  });

  test.each(CASES.smears)(
    "decision: $why",
    ({ cells, cutoff, threshold, min_neutrophils, expected }) => {
      const made: Reading[] = [];
      for (const { label, score, times, copies = 0 } of cells) {
        // The last ones of some cells repeat the first of theirs.
        const { look } = reading(label, score, made.length);
        for (let n = 0; n < times; n += 1) {
          const cell = reading(label, score, made.length);
          made.push(n < times - copies ? cell : { ...cell, look });
        }
      }
      const report = judge(smear(made), point(cutoff, threshold, min_neutrophils), MODELS);
      const { counts, dysplastic_fraction_ci95: interval, ...others } = expected;
      expect(report).toMatchObject(others);
      const found = Object.entries(report.differential).filter(([, { count }]) => count > 0);
      expect(Object.fromEntries(found.map(([name, { count }]) => [name, count]))).toEqual(counts);
      if (interval === null) expect(report.dysplastic_fraction_ci95).toBeNull();
      else {
        for (const end of [0, 1] as const) {
          expect(
            Math.abs((report.dysplastic_fraction_ci95?.[end] ?? NaN) - interval[end]),
          ).toBeLessThan(1e-9);
        }
      }
    },
  );

  test.each(POINTS.cells)("cut-off: $why", ({ score, cutoff, dysplastic }) => {
    expect(isDysplastic(score, cutoff)).toBe(dysplastic);
  });

  test.each(POINTS.smears)("threshold: $why", (it) => {
    const { dysplastic, neutrophils, threshold, minimum_neutrophils, suspected } = it;
    expect(isSuspected(dysplastic, neutrophils, threshold, minimum_neutrophils)).toBe(suspected);
  });
});

describe("corrections", () => {
  const readings = [
    ...Array.from({ length: 20 }, (_, n) => reading("neutrophil", 0.9, n)),
    reading("lymphocyte", null, 20),
    reading("other", null, 21),
  ];
  const at = point(0.5, 0.1, 10);

  test("take the network's place in every count, and are listed", () => {
    const corrections = new Map<string, Label>([
      ["cell-0000.png", "ig"],
      ["cell-0020.png", "neutrophil"],
      ["cell-0021.png", "basophil"],
    ]);
    const scores = new Map([["cell-0020.png", 0.25]]);
    const report = judge(smear(readings, { corrections, scores }), at, MODELS);
    expect(report.neutrophils).toBe(20);
    expect(report.dysplastic).toBe(1);
    expect(report.differential.ig.count).toBe(1);
    expect(report.differential.other.count).toBe(0);
    expect(report.corrections).toEqual([
      { file: "cell-0000.png", label: "neutrophil", corrected: "ig" },
      { file: "cell-0020.png", label: "lymphocyte", corrected: "neutrophil" },
      { file: "cell-0021.png", label: "other", corrected: "basophil" },
    ]);
    expect(report.cells[0]).toMatchObject({ label: "ig", granularity: null, dysplastic: null });
    expect(report.cells[20]).toMatchObject({
      label: "neutrophil",
      granularity: 0.25,
      dysplastic: true,
    });
  });

  test("to what the network says are none", () => {
    const corrections = new Map<string, Label>([["cell-0000.png", "neutrophil"]]);
    expect(judge(smear(readings, { corrections }), at, MODELS)).not.toHaveProperty("corrections");
  });

  test("to neutrophil need a score", () => {
    const corrections = new Map<string, Label>([["cell-0020.png", "neutrophil"]]);
    expect(() => judge(smear(readings, { corrections }), at, MODELS)).toThrow(
      "the neutrophil cell-0020.png has no granularity score",
    );
  });

  test("away from neutrophil can leave too few for a decision", () => {
    const corrections = new Map(
      readings.slice(0, 11).map((it): [string, Label] => [it.file, "monocyte"]),
    );
    expect(judge(smear(readings, { corrections }), at, MODELS).decision).toBe("indeterminate");
  });
});

test("cells stand in the order of their names, whatever the order of reading", () => {
  const readings = [3, 1, 2].map((number) => reading("platelet", null, number));
  const report = judge(smear(readings), point(0.5, 0.1, 10), MODELS);
  expect(report.cells.map(({ file }) => file)).toEqual([1, 2, 3].map((n) => `cell-000${n}.png`));
});

describe("a threshold that is used otherwise than it was fitted is told", () => {
  const fit = (classifier: unknown) =>
    ({ fitted_on: { classifier } }) as unknown as OperatingPoint["smear"];
  const cell = fit(null);
  const warnings = (fitted: Partial<OperatingPoint>) =>
    judge(smear([reading("ig")]), { ...point(0.5, 0.1, 10), ...fitted }, MODELS).warnings.slice(1);

  test("with another classifier", () => {
    const other = { name: "m", version: "2.0.0", sha256: "ab".repeat(32) };
    expect(warnings({ cell, smear: fit(other) })).toEqual([
      "the smear threshold was fitted on cells named by m 2.0.0 (abababababab), not by n 1.0.0 " +
        "(000000000000); fit it again with 'cellnet calibrate'",
    ]);
    expect(warnings({ cell, smear: fit(IDENTITY) })).toEqual([]);
    expect(warnings({ cell, smear: fit(null) })).toEqual([]);
  });

  test("on cells that trained the network", () => {
    const seen = { fitted_on: { seen: { train: 7 } } } as unknown as OperatingPoint["cell"];
    expect(warnings({ cell: seen, smear: fit(null) })).toEqual([
      "the cell cut-off was fitted on 7 cells that trained the network, so it flatters itself; " +
        "fit it again on others with 'cellnet calibrate'",
    ]);
  });

  test("with another cut-off", () => {
    expect(warnings({ cell: null, smear: fit(IDENTITY) })).toEqual([
      "the cell cut-off 0.5 was given by hand, and the smear threshold was fitted with another; " +
        "give a threshold too",
    ]);
    expect(warnings({ cell: null, smear: null })).toEqual([]);
  });
});

test("what was passed over is counted by reason", () => {
  const passedOver = [
    { path: "notes.txt", reason: "not named like an image" },
    { path: ".thumbs", reason: "hidden" },
    { path: "a.xlsx", reason: "not named like an image" },
  ];
  const report = judge(smear([reading("ig")], { passedOver }), point(0.5, 0.1, 10), MODELS);
  expect(report.warnings.at(-1)).toBe(
    "passed over: 3 entries (1 hidden, 2 not named like an image)",
  );
});

test("nothing to answer is an error that says why", () => {
  const at = point(0.5, 0.1, 10);
  const passedOver = [{ path: "a.txt", reason: "not named like an image" }];
  expect(() => judge(smear([], { passedOver }), at, MODELS)).toThrow(
    "there is no image in the folder smear-1 (passed over: 1 entry (1 not named like an image))",
  );
  const unreadable = [
    { file: "a.jpg", reason: "the file is empty" },
    { file: "b.jpg", reason: "the file is empty" },
  ];
  expect(() => judge(smear([], { unreadable }), at, MODELS)).toThrow(
    "none of the 2 images in the folder smear-1 can be read; the first is a.jpg: the file is empty",
  );
});

test.each([[[1, 2]], [Array(8).fill(Number.NaN)]])("%s are no probabilities", (values) => {
  expect(() => nameCell(values)).toThrow(CellnetError);
});

test("the report has the keys of Python's schema", () => {
  const file = join(import.meta.dirname, "../../cellnet/schemas/smear-report.json");
  const schema = JSON.parse(readFileSync(file, "utf-8"));
  const report = JSON.parse(
    reportJson(judge(smear([reading("neutrophil", 0.2)]), point(0.5, 0.1, 10), MODELS)),
  );
  expect(Object.keys(report)).toEqual(schema.required);
  expect(Object.keys(report.cells[0])).toEqual(schema.$defs.cell.required);
  expect(Object.keys(report.cells[0].probabilities)).toEqual(schema.$defs.probabilities.required);
  expect(Object.keys(report.differential)).toEqual(schema.properties.differential.required);
  expect(LABELS).toEqual(schema.$defs.label.enum);
});

test("a report's file is named after the smear, and nothing else", () => {
  const named = (name: string) => {
    const report = judge({ ...smear([reading("ig")]), name }, point(0.5, 0.1, 10), MODELS);
    return reportFile(report, "json");
  };
  expect(named("Müller 2024-1")).toBe("Müller 2024-1.json");
  expect(named("../../a:b\u202e")).toBe("a-b.json");
  expect(named("///")).toBe("smear.json");
  const report = judge(smear([reading("ig")]), point(0.5, 0.1, 10), MODELS);
  expect(reportFile(report, "csv", true)).toBe("smear-1.trial.csv");
});
