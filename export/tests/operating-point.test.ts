import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CellnetError } from "../src/errors";
import { checkPoint, readOperatingPoint } from "../src/rules/operating-point";

const FILE = join(import.meta.dirname, "../../models/dysplasianet/operating_point.json");
const shipped = () => JSON.parse(readFileSync(FILE, "utf-8"));

test("the shipped one is read as it stands", () => {
  const given = shipped();
  const point = readOperatingPoint(given, given.weights_sha256);
  expect(point.cutoff).toBe(given.cell.cutoff);
  expect(point.threshold).toBe(given.smear.threshold);
  expect(point.minimumNeutrophils).toBe(given.minimum_neutrophils);
  expect(point.cell?.fitted_on.split).toBe("test-by-cell");
  expect(point.smear?.auc.ci95).toHaveLength(2);
});

test("one that was fitted with other weights is refused", () => {
  expect(() => readOperatingPoint(shipped(), "f".repeat(64))).toThrow(
    /fitted with weights [0-9a-f]{12}\.\.\., but the weights at hand are ffffffffffff\.\.\./,
  );
});

test.each([
  ["no object", () => null],
  ["another schema", (it) => ({ ...it, schema: "cellnet/operating-point/2" })],
  ["no cut-off", (it) => ({ ...it, cell: { ...it.cell, cutoff: undefined } })],
  ["a cut-off above one", (it) => ({ ...it, cell: { ...it.cell, cutoff: 1.5 } })],
  ["a threshold that is a text", (it) => ({ ...it, smear: { ...it.smear, threshold: "0.1" } })],
  [
    "the comparison turned round",
    (it) => ({ ...it, cell: { ...it.cell, comparison: "dysplastic where score >= cutoff" } }),
  ],
  ["no interval", (it) => ({ ...it, smear: { ...it.smear, auc: { value: 1, ci95: [1] } } })],
  ["no word of the data", (it) => ({ ...it, cell: { ...it.cell, fitted_on: {} } })],
  ["a minimum of half a cell", (it) => ({ ...it, minimum_neutrophils: 0.5 })],
  ["no minimum", (it) => ({ ...it, minimum_neutrophils: undefined })],
] as [string, (given: any) => unknown][])("%s is refused", (_why, change) => {
  const given = shipped();
  expect(() => readOperatingPoint(change(given), given.weights_sha256)).toThrow(CellnetError);
});

test("what a person sets by hand is checked too", () => {
  const by = { threshold: 0.1, minimumNeutrophils: 10, cell: null, smear: null };
  expect(checkPoint({ ...by, cutoff: 1 }).cutoff).toBe(1);
  expect(() => checkPoint({ ...by, cutoff: Number.NaN })).toThrow(
    "cutoff must be a number in [0, 1]",
  );
});
