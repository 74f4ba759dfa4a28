import { describe, expect, test } from "vitest";
import { CLASSES, type Label } from "../src/cells";
import type { Reading } from "../src/engine/types";
import { cellsCsv } from "../src/report/csv";
import { byName, fixed, percent, printable, pythonFloat, sixDigits } from "../src/report/text";
import { confidenceSentence, decisionSentence, scaleEnd } from "../src/report/words";
import { judge } from "../src/rules/smear";
import { groups, uncertainty } from "../src/rules/uncertainty";
import { readCases } from "./cases";

const CASES = readCases("report", "numbers", "reports");
const IDENTITY = { name: "n", version: "1.0.0", sha256: "0".repeat(64) };

type Cell = Pick<Reading, "file" | "probabilities" | "granularity">;

/** Looks that no warning is made of: each another image of a usual size. */
function reading(cell: Cell, number: number): Reading {
  const look = { height: 363, width: 360, depth: 0.8, blueOverGreen: 95, blueOverRed: 47 };
  return {
    ...cell,
    look: { ...look, background: 230, pixels: String(number) },
    width: 360,
    height: 363,
  };
}

describe("the table that Python's tests read too", () => {
  test.each(CASES.numbers)("number: $csv", ({ value, percent: share, six_digits, csv }) => {
    expect([percent(value), sixDigits(value), pythonFloat(value)]).toEqual([
      share,
      six_digits,
      csv,
    ]);
  });

  test.each(CASES.reports)("report: $why", (it) => {
    const { cells, cutoff, threshold, min_neutrophils, unreadable, expected } = it;
    const report = judge(
      {
        name: "s",
        readings: cells.map(reading),
        unreadable: Array.from({ length: unreadable }, (_, nth) => ({
          file: `x${nth}`,
          reason: "damaged",
        })),
        passedOver: [],
        scores: new Map(),
        corrections: new Map(),
      },
      { cutoff, threshold, minimumNeutrophils: min_neutrophils, cell: null, smear: null },
      { model1: IDENTITY, dysplasianet: IDENTITY },
    );
    expect(decisionSentence(report)).toBe(expected.decision_sentence);
    expect(confidenceSentence(report)).toBe(expected.confidence_sentence);
    expect(scaleEnd(report)).toBe(expected.scale_end);
    expect(report.warnings).toEqual(expected.warnings);
    report.cells.forEach((cell, nth) => {
      expect(uncertainty(cell, cutoff)).toBeCloseTo(expected.uncertainties[nth], 12);
    });
    const found = groups(report).map((it) => [it.key, it.name, it.cells.map(({ file }) => file)]);
    expect(found).toEqual(expected.groups);
    if (expected.csv !== null) expect(cellsCsv(report)).toBe(expected.csv);
  });
});

test("ties are rounded to even, as in Python", () => {
  expect([0.5, 1.5, 2.5, -0.5, -1.5].map((value) => fixed(value, 0))).toEqual([
    "0",
    "2",
    "2",
    "-0",
    "-2",
  ]);
  expect([0.125, 0.375, 0.625, 1.005].map((value) => fixed(value, 2))).toEqual([
    "0.12",
    "0.38",
    "0.62",
    "1.00",
  ]);
  expect([0.25, 0.35, 12.25].map((value) => fixed(value, 1))).toEqual(["0.2", "0.3", "12.2"]);
  expect(fixed(-0, 1)).toBe("-0.0");
});

test("names that could drive a screen are made safe", () => {
  expect(printable("a\u001b[31m\u202eb\u2028c\ud800d e")).toBe(
    "a\ufffd[31m\ufffdb\ufffdc\ufffdd e",
  );
  expect(printable("Zellen é 細胞 🔬")).toBe("Zellen é 細胞 🔬");
});

test("names are ordered by code points", () => {
  const names = ["\u{1f52c}", "\uff21", "a/b", "a", "a.b", "B"];
  expect([...names].sort(byName)).toEqual(["B", "a", "a.b", "a/b", "\uff21", "\u{1f52c}"]);
});

describe("copies are told where they decide", () => {
  const cells = Array.from({ length: 30 }, (_, n) => ({
    file: `cell-${String(n).padStart(3, "0")}.jpg`,
    probabilities: CLASSES.map((name) => Number(name === "neutrophil")),
    granularity: n < 18 ? 0.9 : 0.1,
  }));
  const judged = (isCopy: (nth: number) => boolean) => {
    const first = cells.findIndex((_, nth) => isCopy(nth));
    const readings = cells.map((cell, nth) => reading(cell, isCopy(nth) ? first - 1 : nth));
    const content = { name: "s", readings, unreadable: [], passedOver: [] };
    return judge(
      { ...content, scores: new Map(), corrections: new Map() },
      { cutoff: 0.5, threshold: 0.125, minimumNeutrophils: 10, cell: null, smear: null },
      { model1: IDENTITY, dysplasianet: IDENTITY },
    );
  };

  test("too few are left", () => {
    expect(decisionSentence(judged((nth) => nth > 7))).toBe(
      "12 of 30 neutrophils (40.0 %) dysplastic; a decision needs 10 neutrophils, and without " +
        "repeated images there are 8.",
    );
  });

  test("too few to be sure", () => {
    expect(confidenceSentence(judged((nth) => nth > 19))).toBe(
      "The 95 % interval of the share is 22.7 % to 59.4 %, but images repeat others: counted " +
        "once each, they are too few to be sure.",
    );
  });
});

test("corrected rows say what the network had called them, with the new label's probability", () => {
  const probabilities = [0.9, 0.1, 0, 0, 0, 0, 0, 0];
  const cells = ["a.png", "b.png", "c.png"].map((file) => ({
    file,
    probabilities,
    granularity: null,
  }));
  const content = { name: "s", readings: cells.map(reading), unreadable: [], passedOver: [] };
  const judged = (corrections: ReadonlyMap<string, Label>) =>
    judge(
      { ...content, scores: new Map(), corrections },
      { cutoff: 0.5, threshold: 0.125, minimumNeutrophils: 10, cell: null, smear: null },
      { model1: IDENTITY, dysplasianet: IDENTITY },
    );
  const corrected = judged(
    new Map<string, Label>([
      ["b.png", "eosinophil"],
      ["c.png", "other"],
    ]),
  );
  const numbers = "0.9,0.1,0.0,0.0,0.0,0.0,0.0,0.0,,";
  expect(cellsCsv(corrected).split("\n")).toEqual([
    `file,label,probability,${CLASSES.join(",")},granularity,dysplastic,corrected_from`,
    `a.png,basophil,0.9,${numbers},`,
    `b.png,eosinophil,0.1,${numbers},basophil`,
    // Of "none of the eight" the network says nothing.
    `c.png,other,,${numbers},basophil`,
    "",
  ]);
  expect(cellsCsv(judged(new Map())).split("\n")[0]).not.toContain("corrected_from");
  // The JSON document keeps what its schema says: the largest of the eight.
  expect(corrected.cells.map(({ probability }) => probability)).toEqual([0.9, 0.9, 0.9]);
});

test("the table of a report has a column for each class", () => {
  expect(CASES.reports[0].expected.csv.split("\n")[0]).toBe(
    `file,label,probability,${CLASSES.join(",")},granularity,dysplastic`,
  );
});
