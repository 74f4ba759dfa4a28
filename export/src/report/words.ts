/** A report's sentences for people: the same as in `cellnet/report.py`. */

import { NEUTROPHIL } from "../cells";
import type { SmearReport } from "../rules/smear";
import { WHO_SHARE } from "../rules/smear";
import { count, percent, sixDigits } from "./text";

export const RESEARCH_USE = "Research use only: this is no diagnosis.";

export const TITLES = {
  "mds-suspected": "MDS suspected",
  "no-dysplasia": "No dysplasia",
  indeterminate: "Indeterminate",
} as const;

/** Say in one sentence what the decision rests on. */
export function decisionSentence(report: SmearReport): string {
  const share = report.dysplastic_fraction;
  if (share === null) {
    return (
      `There is no neutrophil among ${count(report.cells.length, "cell")}; a decision needs ` +
      `${report.min_neutrophils}.`
    );
  }
  const neutrophils = count(report.neutrophils, "neutrophil");
  const found = `${report.dysplastic} of ${neutrophils} (${percent(share)}) dysplastic`;
  if (report.decision === "indeterminate") {
    const needed = `${found}; a decision needs ${report.min_neutrophils} neutrophils`;
    if (report.neutrophils < report.min_neutrophils) return `${needed}.`;
    return `${needed}, and without repeated images there are ${differentNeutrophils(report)}.`;
  }
  const relation = report.decision === "mds-suspected" ? "above" : "not above";
  return `${found}, ${relation} the threshold of ${percent(report.threshold)}.`;
}

/** Say in one sentence where the interval lies. */
export function confidenceSentence(report: SmearReport): string {
  const interval = report.dysplastic_fraction_ci95;
  if (interval === null) return "Nothing is known of the dysplastic share.";
  const told = `The 95 % interval of the share is ${percent(interval[0])} to ${percent(interval[1])}`;
  if (report.decision === "indeterminate") return `${told}.`;
  if (report.confidence === "clear") {
    const side = report.decision === "mds-suspected" ? "above" : "below";
    return `${told}: all of it lies ${side} the threshold.`;
  }
  if (interval[0] > report.threshold || interval[1] <= report.threshold) {
    return `${told}, but images repeat others: counted once each, they are too few to be sure.`;
  }
  return `${told}: the threshold lies within, so more neutrophils could change the decision.`;
}

/** Count the neutrophils that repeat no other image: those that a decision needs enough of. */
export function differentNeutrophils({ cells, copies = [], neutrophils }: SmearReport): number {
  if (copies.length === 0) return neutrophils;
  const repeated = new Set(copies);
  return cells.filter(({ file, label }) => label === NEUTROPHIL && !repeated.has(file)).length;
}

/**
 * Say that a report rests on values that a person tried, and what the fitted ones give.
 *
 * @param fitted the report of the same cells at the fitted values.
 */
export function trialWarning(report: SmearReport, fitted: SmearReport): string {
  const cutoff = ({ cutoff: value }: SmearReport) => `cell cut-off ${sixDigits(value)}`;
  const threshold = ({ threshold: value }: SmearReport) => `smear threshold ${percent(value)}`;
  const tried = [
    ...(report.cutoff === fitted.cutoff ? [] : [cutoff(report)]),
    ...(report.threshold === fitted.threshold ? [] : [threshold(report)]),
  ];
  const sure = fitted.decision === "indeterminate" ? "" : `, ${fitted.confidence}`;
  return (
    `trial values: ${tried.join(" and ")} by hand; the fitted ${cutoff(fitted)} and ` +
    `${threshold(fitted)} give ${TITLES[fitted.decision]}${sure} (${fitted.dysplastic} of ` +
    `${count(fitted.neutrophils, "neutrophil")} dysplastic)`
  );
}

/** Choose where a scale of the dysplastic share should end, so that all its marks are on it. */
export function scaleEnd(report: SmearReport): number {
  const most = Math.max(report.dysplastic_fraction_ci95?.[1] ?? 1, report.threshold, WHO_SHARE);
  return [0.25, 0.5].find((end) => most <= 0.95 * end) ?? 1;
}
