/** Sentences on what a moved cut-off or threshold, or a few other cells, would change. */

import { count, percent } from "../report/text";
import { differentNeutrophils, TITLES } from "../report/words";
import { isSuspected } from "../rules/operating-point";
import type { SmearReport } from "../rules/smear";

/**
 * Say what differs between a smear at its fitted point and at one that is tried.
 *
 * @param before the report at the fitted point.
 * @param after the report of the same cells at the other point.
 */
export function changed(before: SmearReport, after: SmearReport): string[] {
  const more = after.dysplastic - before.dysplastic;
  const sentences = [];
  if (after.neutrophils > 0) {
    const of = `${after.dysplastic} of ${after.neutrophils}`;
    sentences.push(
      more === 0
        ? `The same ${count(after.neutrophils, "neutrophil")} would be judged alike: ${of} dysplastic.`
        : `${count(Math.abs(more), more > 0 ? "more neutrophil" : "fewer neutrophil")} would be ` +
            `dysplastic: ${of} instead of ${before.dysplastic}.`,
    );
  }
  sentences.push(decisionChange(before, after, "would"));
  return sentences;
}

/** Say whether the decision is another, and how sure it is. */
export function decisionChange(
  before: SmearReport,
  after: SmearReport,
  tense: "would" | "did",
): string {
  if (before.decision !== after.decision) {
    const verb = tense === "would" ? "The decision would change" : "The decision changes";
    return `${verb} from ${TITLES[before.decision]} to ${titled(after)}.`;
  }
  const stays = tense === "would" ? "The decision would stay" : "The decision stays";
  const isMoved = before.confidence !== after.confidence;
  return `${stays} ${TITLES[after.decision]}${isMoved ? `, but ${after.confidence} instead of ${before.confidence}` : ""}.`;
}

function titled(report: SmearReport): string {
  const sure = report.decision === "indeterminate" ? "" : `, ${report.confidence}`;
  return `${TITLES[report.decision]}${sure}`;
}

/** Say how far the decision is from another one. */
export function distance(report: SmearReport): string {
  const { neutrophils, dysplastic, threshold, min_neutrophils: least } = report;
  if (report.decision === "indeterminate") {
    const missing = count(least - differentNeutrophils(report), "more neutrophil");
    const different = report.copies ? " that repeat no other image" : "";
    return `There is no decision: ${missing}${different} would be needed.`;
  }
  const isNow = report.decision === "mds-suspected";
  const step = isNow ? -1 : 1;
  let flip = dysplastic + step;
  while (flip >= 0 && flip <= neutrophils) {
    if (isSuspected(flip, neutrophils, threshold, least) !== isNow) break;
    flip += step;
  }
  const share = percent(dysplastic / neutrophils);
  const number = Math.abs(flip - dysplastic);
  const were = number === 1 ? "was" : "were";
  const ways: string[] = [];
  if (flip >= 0 && flip <= neutrophils) {
    const [from, to] = isNow ? ["dysplastic", "normal"] : ["normal", "dysplastic"];
    ways.push(`if ${count(number, `${from} neutrophil`)} ${were} ${to}`);
  }
  if (isNow) ways.push(`with the threshold at its share (${share}) or above`);
  else if (dysplastic > 0) ways.push(`with the threshold below its share (${share})`);
  if (ways.length === 0) return `Nothing is above a threshold of ${percent(threshold)}.`;
  return `It would be ${TITLES[isNow ? "no-dysplasia" : "mds-suspected"]} ${ways.join(", or ")}.`;
}
