/**
 * From the cells of one smear to a decision: counts, differential, interval, warnings. The same
 * rules as `cellnet/smear.py`, and the same document `cellnet/smear-report/1`; what a person
 * corrected takes the place of what the network said, and is listed.
 */

import { type CellClass, CLASSES, LABELS, type Label, NEUTROPHIL, OTHER } from "../cells";
import type { ModelInfo, Reading, Role, Unreadable } from "../engine/types";
import { CellnetError } from "../errors";
import { byName, roundPercent, sixDigits } from "../report/text";
import { findCopies, lookWarnings } from "./appearance";
import { clopperPearson } from "./intervals";
import { isDysplastic, isSuspected, type OperatingPoint } from "./operating-point";

export const SCHEMA = "cellnet/smear-report/1";

/** A class holds when its probability is over this, else the cell is `other`. */
export const HOLDS = 0.5;

/** WHO calls a lineage dysplastic from this share of its cells on; shown, never used. */
export const WHO_SHARE = 0.1;

const MANY_OTHER = 0.2;
const MANY_UNREADABLE = 0.1;
const FEW_CELLS = 30;

export type Decision = "mds-suspected" | "no-dysplasia" | "indeterminate";
export type Confidence = "clear" | "borderline";

/** One image in a report; keys as in the JSON document. */
export type CellRow = {
  readonly file: string;
  readonly label: Label;
  readonly probability: number;
  readonly probabilities: Readonly<Record<CellClass, number>>;
  readonly granularity: number | null;
  readonly dysplastic: boolean | null;
};

/** A label that a person changed; `label` is the network's, `corrected` the person's. */
export type Correction = {
  readonly file: string;
  readonly label: Label;
  readonly corrected: Label;
};

export type Share = { readonly count: number; readonly fraction: number };
export type Identity = Pick<ModelInfo, "name" | "version" | "sha256">;

/** The document `cellnet/smear-report/1`; `copies` and `corrections` only where there are some. */
export type SmearReport = {
  readonly schema: typeof SCHEMA;
  readonly smear: string;
  readonly models: Readonly<Record<Role, Identity>>;
  readonly cells: readonly CellRow[];
  readonly unreadable: readonly Unreadable[];
  readonly differential: Readonly<Record<Label, Share>>;
  readonly neutrophils: number;
  readonly dysplastic: number;
  readonly dysplastic_fraction: number | null;
  readonly dysplastic_fraction_ci95: readonly [number, number] | null;
  readonly cutoff: number;
  readonly threshold: number;
  readonly min_neutrophils: number;
  readonly decision: Decision;
  readonly confidence: Confidence;
  readonly warnings: readonly string[];
  /** Files that repeat an earlier image; counted, but making no decision and nothing clear. */
  readonly copies?: readonly string[];
  readonly corrections?: readonly Correction[];
};

/** A file or folder that was left out, and why. */
export type PassedOver = { readonly path: string; readonly reason: string };

/** All that is known of a smear before it is judged. */
export type SmearContent = {
  readonly name: string;
  readonly readings: readonly Reading[];
  readonly unreadable: readonly Unreadable[];
  readonly passedOver: readonly PassedOver[];
  /** By file: granularity of cells that only a person calls neutrophil. */
  readonly scores: ReadonlyMap<string, number>;
  /** By file: what a person calls the cell. */
  readonly corrections: ReadonlyMap<string, Label>;
};

/**
 * Name a cell: its class where a probability is over 0.5, else `other`.
 *
 * @returns the label, and the largest probability.
 * @throws CellnetError unless there are eight numbers.
 */
export function nameCell(probabilities: readonly number[]): [Label, number] {
  if (probabilities.length !== CLASSES.length || !probabilities.every(Number.isFinite)) {
    throw new CellnetError(
      `a cell has ${CLASSES.length} probabilities, all of them numbers, got [${probabilities}]`,
    );
  }
  const largest = Math.max(...probabilities);
  const best = CLASSES[probabilities.indexOf(largest)] as CellClass;
  return [largest > HOLDS ? best : OTHER, largest];
}

/**
 * Judge one smear.
 *
 * @throws CellnetError where no image could be read, or a neutrophil has no score.
 */
export function judge(
  smear: SmearContent,
  point: OperatingPoint,
  models: Readonly<Record<Role, Identity>>,
): SmearReport {
  checkSome(smear);
  const readings = [...smear.readings].sort((a, b) => byName(a.file, b.file));
  const corrections: Correction[] = [];
  const cells = readings.map((reading) => {
    const [named] = nameCell(reading.probabilities);
    const corrected = smear.corrections.get(reading.file) ?? named;
    if (corrected !== named) corrections.push({ file: reading.file, label: named, corrected });
    return row(reading, corrected, smear.scores, point.cutoff);
  });
  const copies = findCopies(readings);
  const { neutrophils, dysplastic, interval, ...found } = count(cells, point);
  const once =
    copies.size > 0
      ? count(
          cells.filter(({ file }) => !copies.has(file)),
          point,
        )
      : found;
  // Copies do not make up the minimum of neutrophils, and make nothing clear.
  const decision = once.decision === "indeterminate" ? "indeterminate" : found.decision;
  const isClear =
    found.confidence === "clear" && once.confidence === "clear" && once.decision === decision;
  const report: SmearReport = {
    schema: SCHEMA,
    smear: smear.name,
    models: { model1: identity(models.model1), dysplasianet: identity(models.dysplasianet) },
    cells,
    unreadable: smear.unreadable.map(({ file, reason }) => ({ file, reason })),
    differential: differential(cells),
    neutrophils,
    dysplastic,
    dysplastic_fraction: neutrophils > 0 ? dysplastic / neutrophils : null,
    dysplastic_fraction_ci95: interval,
    cutoff: point.cutoff,
    threshold: point.threshold,
    min_neutrophils: point.minimumNeutrophils,
    decision,
    confidence: isClear ? "clear" : "borderline",
    warnings: [
      ...countWarnings(cells, smear.unreadable.length),
      ...cautions(point, models.model1),
      ...lookWarnings(
        readings.map(({ file, look }, place) => ({ file, look, label: cells[place]?.label ?? "" })),
      ),
      ...toldPassedOver(smear.passedOver),
    ],
  };
  return {
    ...report,
    ...(copies.size > 0 ? { copies: [...copies.keys()].sort(byName) } : {}),
    ...(corrections.length > 0 ? { corrections } : {}),
  };
}

function row(
  reading: Reading,
  label: Label,
  scores: ReadonlyMap<string, number>,
  cutoff: number,
): CellRow {
  const { file, probabilities } = reading;
  const known = {
    file,
    label,
    probability: Math.max(...probabilities),
    probabilities: Object.fromEntries(
      CLASSES.map((name, place) => [name, probabilities[place]]),
    ) as Record<CellClass, number>,
  };
  if (label !== NEUTROPHIL) return { ...known, granularity: null, dysplastic: null };
  const granularity = reading.granularity ?? scores.get(file);
  if (granularity === undefined) {
    throw new CellnetError(`the neutrophil ${file} has no granularity score`);
  }
  return { ...known, granularity, dysplastic: isDysplastic(granularity, cutoff) };
}

function count(cells: readonly CellRow[], point: OperatingPoint) {
  const neutrophils = cells.filter((cell) => cell.label === NEUTROPHIL).length;
  const dysplastic = cells.filter((cell) => cell.dysplastic === true).length;
  const interval = neutrophils > 0 ? clopperPearson(dysplastic, neutrophils) : null;
  const decision = decide(dysplastic, neutrophils, point);
  const confidence = confide(interval, decision, point.threshold);
  return { neutrophils, dysplastic, interval, decision, confidence };
}

function decide(dysplastic: number, neutrophils: number, point: OperatingPoint): Decision {
  const { threshold, minimumNeutrophils } = point;
  const suspected = isSuspected(dysplastic, neutrophils, threshold, minimumNeutrophils);
  if (suspected === null) return "indeterminate";
  return suspected ? "mds-suspected" : "no-dysplasia";
}

/** An interval that ends on the threshold lies below it, as does a share equal to it. */
function confide(
  interval: readonly [number, number] | null,
  decision: Decision,
  threshold: number,
): Confidence {
  if (interval === null || decision === "indeterminate") return "borderline";
  return interval[0] > threshold || interval[1] <= threshold ? "clear" : "borderline";
}

function differential(cells: readonly CellRow[]): Record<Label, Share> {
  const total = Math.max(cells.length, 1);
  return Object.fromEntries(
    LABELS.map((name) => {
      const found = cells.filter((cell) => cell.label === name).length;
      return [name, { count: found, fraction: found / total }];
    }),
  ) as Record<Label, Share>;
}

function countWarnings(cells: readonly CellRow[], unreadable: number): string[] {
  const found: string[] = [];
  const files = cells.length + unreadable;
  if (unreadable > MANY_UNREADABLE * files) {
    found.push(
      `many unreadable: ${unreadable} of ${files} images could not be used ` +
        `(${roundPercent(unreadable / files)})`,
    );
  }
  if (cells.length > 0 && cells.length < FEW_CELLS) {
    found.push(`few cells: ${cells.length}, where a smear should have ${FEW_CELLS} or more`);
  }
  const others = cells.filter((cell) => cell.label === OTHER).length;
  if (others > MANY_OTHER * cells.length) {
    found.push(
      `many other: no class holds for ${others} of ${cells.length} cells ` +
        `(${roundPercent(others / cells.length)}); is each image one stained cell?`,
    );
  }
  return found;
}

/** Say where the smear threshold is used under other conditions than it was fitted under. */
function cautions(point: OperatingPoint, naming: Identity): string[] {
  const cuts = [["cell cut-off", point.cell] as const, ["smear threshold", point.smear] as const];
  const found = cuts.flatMap(([what, fit]) => {
    const trained = (fit?.fitted_on?.seen as { train?: number } | null | undefined)?.train;
    if (!trained) return [];
    return [
      `the ${what} was fitted on ${trained} cells that trained the network, so it flatters ` +
        "itself; fit it again on others with 'cellnet calibrate'",
    ];
  });
  if (point.smear === null) return found;
  if (point.cell === null) {
    return [
      ...found,
      `the cell cut-off ${sixDigits(point.cutoff)} was given by hand, and the smear threshold was ` +
        "fitted with another; give a threshold too",
    ];
  }
  const fitted = point.smear.fitted_on?.classifier as Identity | null | undefined;
  if (!fitted || fitted.sha256 === naming.sha256) return found;
  const short = ({ sha256 }: Identity) => sha256.slice(0, 12);
  return [
    ...found,
    `the smear threshold was fitted on cells named by ${fitted.name} ${fitted.version} ` +
      `(${short(fitted)}), not by ${naming.name} ${naming.version} (${short(naming)}); ` +
      "fit it again with 'cellnet calibrate'",
  ];
}

/** Say how many entries of a folder are no images; empty where all are. */
export function toldPassedOver(passedOver: readonly PassedOver[]): string[] {
  if (passedOver.length === 0) return [];
  const counts = new Map<string, number>();
  for (const { reason } of [...passedOver].sort((a, b) => byName(a.path, b.path))) {
    counts.set(reason, (counts.get(reason) ?? 0) + 1);
  }
  const reasons = [...counts].map(([reason, number]) => `${number} ${reason}`).join(", ");
  const entries = passedOver.length === 1 ? "entry" : "entries";
  return [`passed over: ${passedOver.length} ${entries} (${reasons})`];
}

/** Check that something is left to answer. */
function checkSome(smear: SmearContent): void {
  if (smear.readings.length > 0) return;
  const first = smear.unreadable[0];
  if (first === undefined) {
    const notes = toldPassedOver(smear.passedOver);
    throw new CellnetError(
      `there is no image in the folder ${smear.name}${notes.length > 0 ? ` (${notes})` : ""}`,
    );
  }
  throw new CellnetError(
    `none of the ${smear.unreadable.length} images in the folder ${smear.name} can be read; ` +
      `the first is ${first.file}: ${first.reason}`,
  );
}

function identity({ name, version, sha256 }: Identity): Identity {
  return { name, version, sha256 };
}
