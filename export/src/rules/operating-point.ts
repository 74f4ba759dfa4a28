/**
 * The cell cut-off and the smear threshold, and the two comparisons that use them: the same as
 * `cellnet/operating_point.py`. There is no default: a model without an operating point decides
 * nothing.
 */

import { CellnetError } from "../errors";

const SCHEMA = "cellnet/operating-point/1";
const COMPARISONS = {
  cell: "dysplastic where score <= cutoff",
  smear: "mds-suspected where dysplastic_fraction > threshold",
} as const;

/** A measured value with its 95 % interval. */
export type Estimate = {
  readonly value: number;
  readonly ci95: readonly [number, number];
  readonly n: number;
  readonly method: string;
  readonly k?: number;
};

/** How one of the two cuts was fitted. */
export type Fit = {
  readonly comparison: string;
  readonly criterion: string;
  readonly fitted_on: Readonly<Record<string, unknown>>;
  readonly auc: Estimate;
  readonly sensitivity: Estimate;
  readonly specificity: Estimate;
  readonly youden: number;
};

export type OperatingPoint = {
  /** A neutrophil is dysplastic where its score is at or below it; in [0, 1]. */
  readonly cutoff: number;
  /** A smear is suspected where the dysplastic share of its neutrophils is above it; in [0, 1]. */
  readonly threshold: number;
  /** Fewer neutrophils than this give no decision; at least 1. */
  readonly minimumNeutrophils: number;
  /** How they were fitted; null only for one that a person set by hand. */
  readonly cell: Fit | null;
  readonly smear: Fit | null;
};

/** Whether a neutrophil with this score is dysplastic: the one rule of cells. */
export function isDysplastic(score: number, cutoff: number): boolean {
  return score <= cutoff;
}

/**
 * Whether a smear with these counts is MDS-suspected: the one rule of smears.
 *
 * @returns null where there are fewer neutrophils than the minimum.
 * @throws RangeError unless 0 <= dysplastic <= neutrophils.
 */
export function isSuspected(
  dysplastic: number,
  neutrophils: number,
  threshold: number,
  minimumNeutrophils: number,
): boolean | null {
  if (!(dysplastic >= 0 && dysplastic <= neutrophils)) {
    throw new RangeError(
      `dysplastic must lie between 0 and neutrophils, got ${dysplastic} of ${neutrophils}`,
    );
  }
  if (neutrophils < Math.max(minimumNeutrophils, 1)) return null;
  return dysplastic / neutrophils > threshold;
}

/** Check cut-off, threshold and minimum, wherever they come from. */
export function checkPoint(point: OperatingPoint): OperatingPoint {
  for (const name of ["cutoff", "threshold"] as const) {
    const value = point[name];
    if (!isNumber(value) || value < 0 || value > 1) {
      throw new CellnetError(`${name} must be a number in [0, 1], got ${value}`);
    }
  }
  if (!Number.isInteger(point.minimumNeutrophils) || point.minimumNeutrophils < 1) {
    throw new CellnetError(
      `minimum_neutrophils must be a whole number of at least 1, got ${point.minimumNeutrophils}`,
    );
  }
  return point;
}

/**
 * Read the content of `operating_point.json`, and check that it belongs to the weights at hand.
 *
 * @throws CellnetError naming the key, the rule and the value.
 */
export function readOperatingPoint(document: unknown, weightsSha256: string): OperatingPoint {
  const given = asObject(document);
  if (given?.schema !== SCHEMA) {
    throw new CellnetError(`the operating point's schema must be ${SCHEMA}, got ${given?.schema}`);
  }
  if (given.weights_sha256 !== weightsSha256) {
    throw new CellnetError(
      `the operating point was fitted with weights ${String(given.weights_sha256).slice(0, 12)}..., ` +
        `but the weights at hand are ${weightsSha256.slice(0, 12)}...: calibrate and export again`,
    );
  }
  const cell = readFit(given, "cell");
  const smear = readFit(given, "smear");
  return checkPoint({
    cutoff: cell.cutoff as number,
    threshold: smear.threshold as number,
    minimumNeutrophils: given.minimum_neutrophils as number,
    cell: cell as unknown as Fit,
    smear: smear as unknown as Fit,
  });
}

function readFit(given: Record<string, unknown>, part: "cell" | "smear"): Record<string, unknown> {
  const section = asObject(given[part]);
  if (section === null) throw new CellnetError(`the operating point's ${part} is missing`);
  if (section.comparison !== COMPARISONS[part]) {
    throw new CellnetError(
      `${part}.comparison must be '${COMPARISONS[part]}', got '${section.comparison}'`,
    );
  }
  for (const key of ["auc", "sensitivity", "specificity"]) {
    const estimate = asObject(section[key]);
    const ends: unknown[] = Array.isArray(estimate?.ci95) ? estimate.ci95 : [];
    if (ends.length !== 2 || ![...ends, estimate?.value].every(isNumber)) {
      throw new CellnetError(`${part}.${key} must hold a value and its ci95`);
    }
  }
  if (typeof section.criterion !== "string") {
    throw new CellnetError(`${part}.criterion must be a text`);
  }
  if (!asObject(section.fitted_on)?.split) {
    throw new CellnetError(`${part}.fitted_on must name the split that it was fitted on`);
  }
  if (!isNumber(section.youden)) throw new CellnetError(`${part}.youden must be a number`);
  return section;
}

function isNumber(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

function asObject(value: unknown): Record<string, unknown> | null {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : null;
}
