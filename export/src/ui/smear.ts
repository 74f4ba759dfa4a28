/** What is known of one smear, how it is judged, and what is said of it. */

import type { Label } from "../cells";
import type { InputFile, ModelInfo, Reading, Role, Unreadable } from "../engine/client";
import { told } from "../errors";
import type { DroppedSmear } from "../files";
import { byName, count, printable } from "../report/text";
import { TITLES, trialWarning } from "../report/words";
import type { OperatingPoint } from "../rules/operating-point";
import { judge, nameCell, type PassedOver, type SmearReport } from "../rules/smear";

export type Models = Readonly<Record<Role, ModelInfo>>;

/** A step that can be taken back: what a person had called the cell, or all cells, before. */
export type Step =
  | { readonly file: string; readonly before: Label | undefined }
  | { readonly all: ReadonlyMap<string, Label> };

/** How far a smear is. `stopped` by a person or a reload; `failed` with a reason. */
export type Stage = "waiting" | "reading" | "stopped" | "failed" | "read";

/** All that is known of one smear. */
export type Smear = {
  readonly id: string;
  readonly name: string;
  readonly files: readonly InputFile[];
  readonly passedOver: readonly PassedOver[];
  /** Files and folders that could not even be opened. */
  readonly closed: readonly Unreadable[];
  readonly stage: Stage;
  /** Why it failed. */
  readonly failure: string;
  readonly readings: readonly Reading[];
  readonly unreadable: readonly Unreadable[];
  readonly corrections: ReadonlyMap<string, Label>;
  readonly scores: ReadonlyMap<string, number>;
  /** Cells that a person called neutrophil and that are being scored. */
  readonly pending: ReadonlySet<string>;
  readonly steps: readonly Step[];
  /** The models that read it; null until they began. */
  readonly models: Models | null;
  /** What computed, for people. */
  readonly engine: string;
  /** When it was read to its end, in milliseconds since 1970; null where that is not known. */
  readonly readAt: number | null;
  /** Cut-off and threshold tried by hand; null for the fitted ones. */
  readonly trial: { readonly cutoff: number; readonly threshold: number } | null;
};

/** A smear judged: with what is on the page, and beside it as the networks alone would. */
export type Judgement = {
  /** With corrections, at the cut-off and threshold that are set. */
  readonly report: SmearReport;
  /** With corrections, at the fitted point. */
  readonly fitted: SmearReport;
  /** Without corrections, at the fitted point. */
  readonly alone: SmearReport;
  readonly point: OperatingPoint;
};

/** A smear that nothing is known of yet. */
export function fresh(dropped: DroppedSmear, name: string): Smear {
  return {
    id: freshId(),
    name,
    files: dropped.files,
    passedOver: dropped.passedOver,
    closed: dropped.unreadable,
    stage: "waiting",
    failure: "",
    readings: [],
    unreadable: [],
    corrections: new Map(),
    scores: new Map(),
    pending: new Set(),
    steps: [],
    models: null,
    engine: "",
    readAt: null,
    trial: null,
  };
}

/** A name that no other smear has; `randomUUID` is not there on plain HTTP. */
function freshId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A smear as it comes back: nobody reads or scores it any more. */
export function awake(smear: Smear): Smear {
  return {
    ...smear,
    pending: new Set(),
    trial: null,
    stage: isUnderWay(smear) ? "stopped" : smear.stage,
    // Smears of earlier versions come without.
    readAt: smear.readAt ?? null,
  };
}

/** Whether it is read here, or will be. */
export function isUnderWay({ stage }: Smear): boolean {
  return stage === "waiting" || stage === "reading";
}

/** A smear that another tab changed: as it is kept by now, but for what is under way here. */
export function takenOver(mine: Smear, kept: Smear): Smear {
  const { files, trial, pending } = mine;
  if (!isUnderWay(mine)) return { ...awake(kept), files, trial, pending };
  const { corrections, steps } = kept;
  return { ...mine, corrections, steps, scores: new Map([...mine.scores, ...kept.scores]) };
}

/** What reading changes in a smear, beside whatever a person corrected in another tab meanwhile. */
export function whatIsRead(smear: Smear): (kept: Pick<Smear, "scores">) => Partial<Smear> {
  const { stage, failure, readings, unreadable, models, engine, readAt } = smear;
  const known = { stage, failure, readings, unreadable, models, engine, readAt };
  return ({ scores }) => ({ ...known, scores: new Map([...scores, ...smear.scores]) });
}

/** What the network calls a cell. */
export function networkLabel(smear: Smear, file: string): Label | undefined {
  const reading = smear.readings.find((one) => one.file === file);
  return reading && nameCell(reading.probabilities)[0];
}

/** What a cell is called: by a person, else by the network. */
export function labelOf(smear: Smear, file: string): Label | undefined {
  return smear.corrections.get(file) ?? networkLabel(smear, file);
}

export function sameModels(one: Models, other: Models): boolean {
  return (
    one.model1.sha256 === other.model1.sha256 &&
    one.dysplasianet.sha256 === other.dysplasianet.sha256
  );
}

const judgements = new WeakMap<Smear, Judgement | string>();

/** Judge a smear that is read; a text says why that cannot be. */
export function judgement(smear: Smear): Judgement | string {
  const known = judgements.get(smear);
  if (known !== undefined) return known;
  const found = judgeAll(smear);
  judgements.set(smear, found);
  return found;
}

function judgeAll(smear: Smear): Judgement | string {
  const { models, trial } = smear;
  const point = models?.dysplasianet.operatingPoint;
  if (!models) return "It has not been read yet.";
  if (!point) {
    return "The model that scores neutrophils has no operating point, so nothing can be decided: calibrate it and export it again.";
  }
  const content = {
    ...smear,
    unreadable: [...smear.closed, ...smear.unreadable].sort((a, b) => byName(a.file, b.file)),
  };
  try {
    const fitted = judge(content, point, models);
    const tried = trial && { ...point, ...trial, ...byHand(point, trial) };
    const hasCorrections = smear.corrections.size > 0;
    return {
      fitted,
      report: tried ? byTrial(judge(content, tried, models), fitted) : fitted,
      alone: hasCorrections ? judge({ ...content, corrections: new Map() }, point, models) : fitted,
      point,
    };
  } catch (error) {
    return told(error);
  }
}

/** A cut that was moved by hand was fitted on nothing. */
function byHand(point: OperatingPoint, trial: NonNullable<Smear["trial"]>) {
  return {
    cell: trial.cutoff === point.cutoff ? point.cell : null,
    smear: trial.threshold === point.threshold ? point.smear : null,
  };
}

/** A report at values that were tried by hand says so wherever it goes. */
function byTrial(report: SmearReport, fitted: SmearReport): SmearReport {
  return { ...report, warnings: [...report.warnings, trialWarning(report, fitted)] };
}

/** Say in a line what became of a smear. */
export function verdict(smear: Smear): string {
  if (smear.stage !== "read") return STAGES[smear.stage];
  const judged = judgement(smear);
  if (typeof judged === "string") return "Nothing can be decided.";
  const { decision, dysplastic, neutrophils, confidence } = judged.report;
  const sure = decision === "indeterminate" ? "" : `, ${confidence}`;
  return `${TITLES[decision]}${sure}: ${dysplastic} of ${count(neutrophils, "neutrophil")} dysplastic.`;
}

const STAGES: Readonly<Record<Exclude<Stage, "read">, string>> = {
  waiting: "Waiting to be read.",
  reading: "Being read.",
  stopped: "Stopped before its end.",
  failed: "Could not be read.",
};

/** A file's name without its folders. */
export function short(file: string): string {
  return printable(file.slice(file.lastIndexOf("/") + 1));
}
