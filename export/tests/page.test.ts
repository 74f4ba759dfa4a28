/** Sentences, scales and keys of the page. */

import { describe, expect, it } from "vitest";
import type { SmearReport } from "../src/rules/smear";
import { changed, distance } from "../src/ui/changes";
import { speaking } from "../src/ui/overlay";
import { place, scoreAt, stretchFor } from "../src/ui/stretch";

function report(dysplastic: number, neutrophils: number, more: Partial<SmearReport> = {}) {
  const isEnough = neutrophils >= 10;
  const isSuspected = dysplastic / neutrophils > 0.115;
  return {
    dysplastic,
    neutrophils,
    threshold: 0.115,
    min_neutrophils: 10,
    decision: !isEnough ? "indeterminate" : isSuspected ? "mds-suspected" : "no-dysplasia",
    confidence: "clear",
    ...more,
  } as SmearReport;
}

describe("how far a decision is from another", () => {
  it.each([
    // 4 of 30 is 13.3 %, 3 of 30 is 10 %.
    [
      7,
      30,
      "if 4 dysplastic neutrophils were normal, or with the threshold at its share (23.3 %) or above.",
    ],
    [
      4,
      30,
      "if 1 dysplastic neutrophil was normal, or with the threshold at its share (13.3 %) or above.",
    ],
    [
      3,
      30,
      "if 1 normal neutrophil was dysplastic, or with the threshold below its share (10.0 %).",
    ],
    [0, 30, "if 4 normal neutrophils were dysplastic."],
  ])("%i of %i", (dysplastic, neutrophils, words) => {
    expect(distance(report(dysplastic, neutrophils))).toContain(words);
  });

  it("says how many are missing where there is no decision", () => {
    expect(distance(report(1, 7))).toBe(
      "There is no decision: 3 more neutrophils would be needed.",
    );
    expect(distance(report(0, 0))).toContain("10 more neutrophils");
  });

  it("counts copies once where they are why there is no decision", () => {
    const cells = Array.from({ length: 17 }, (_, n) => ({ file: `${n}`, label: "neutrophil" }));
    const copies = cells.slice(8).map(({ file }) => file);
    const more = { cells, copies, decision: "indeterminate" } as unknown as Partial<SmearReport>;
    expect(distance(report(1, 17, more))).toBe(
      "There is no decision: 2 more neutrophils that repeat no other image would be needed.",
    );
  });

  it("leaves cells out where no number of them would do", () => {
    const all = report(30, 30, { threshold: 1, decision: "no-dysplasia" });
    expect(distance(all)).toBe(
      "It would be MDS suspected with the threshold below its share (100.0 %).",
    );
    const none = report(0, 30, { threshold: 1, decision: "no-dysplasia" });
    expect(distance(none)).toBe("Nothing is above a threshold of 100.0 %.");
  });
});

describe("what a trial would change", () => {
  it("counts cells and names the decision", () => {
    const before = report(3, 30);
    expect(changed(before, report(5, 30))).toEqual([
      "2 more neutrophils would be dysplastic: 5 of 30 instead of 3.",
      "The decision would change from No dysplasia to MDS suspected, clear.",
    ]);
    expect(changed(report(5, 30), report(4, 30))[0]).toBe(
      "1 fewer neutrophil would be dysplastic: 4 of 30 instead of 5.",
    );
    expect(changed(before, { ...before, confidence: "borderline" })).toEqual([
      "The same 30 neutrophils would be judged alike: 3 of 30 dysplastic.",
      "The decision would stay No dysplasia, but borderline instead of clear.",
    ]);
  });
});

describe("the scale of scores", () => {
  it.each([0.5, 0.9719309508800507, 0.99995, 0.00001])("goes there and back at %d", (cutoff) => {
    const stretch = stretchFor(cutoff);
    const at = place(cutoff, stretch);
    expect(at).toBeGreaterThan(0);
    expect(at).toBeLessThan(1);
    expect(scoreAt(at, stretch)).toBeCloseTo(cutoff, 9);
  });

  it("holds the ends", () => {
    const stretch = stretchFor(0.97);
    expect(place(0, stretch)).toBe(0);
    expect(place(1, stretch)).toBe(1);
  });
});

describe("an activation map", () => {
  const map = { width: 2, height: 2, values: Float32Array.from([-4, 1, 0, 0.1]) };

  it("shows the asked sign alone, its strongest point as 1", () => {
    expect([...speaking(map, -1).values]).toEqual([1, 0, 0, 0]);
    expect([...speaking(map, 1).values].map((value) => value.toFixed(2))).toEqual([
      "0.00",
      "1.00",
      "0.00",
      "0.10",
    ]);
  });

  it("says where hardly anything speaks, and shows nothing then", () => {
    const faint = { ...map, values: Float32Array.from([-4, 0.1, 0, 0]) };
    expect(speaking(faint, 1)).toMatchObject({ isFaint: true });
    expect([...speaking(faint, 1).values]).toEqual([0, 0, 0, 0]);
    const empty = { ...map, values: new Float32Array(4) };
    expect(speaking(empty, 1).isFaint).toBe(true);
  });
});
