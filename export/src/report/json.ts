/** A smear's report as the JSON document that Python writes, with a person's corrections. */

import type { SmearReport } from "../rules/smear";

/** Write the document: UTF-8 text, indented, its last line ended. */
export function reportJson(report: SmearReport): string {
  return `${JSON.stringify(report, null, 2)}\n`;
}

/**
 * Name the file that a report is saved under, whatever the smear is called.
 *
 * @param isTrial whether it rests on values that were tried by hand: the name then says so.
 */
export function reportFile(report: SmearReport, ending: "json" | "csv", isTrial = false): string {
  const name = report.smear.replace(/[^\p{L}\p{N}._ -]+/gu, "-").replace(/^[-. ]+|[-. ]+$/g, "");
  return `${name.slice(0, 100) || "smear"}${isTrial ? ".trial" : ""}.${ending}`;
}
