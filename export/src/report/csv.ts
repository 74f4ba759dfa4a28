/** A smear's cells as a table: the columns and the spelling of `cells_csv` in `cellnet/report.py`. */

import { CLASSES, type Label, OTHER } from "../cells";
import type { CellRow, SmearReport } from "../rules/smear";
import { pythonFloat, safeCell } from "./text";

/**
 * Make a table of a smear: a header, then a row for each cell. Where a person corrected some, a last
 * column says what the network had called them, and `probability` is that of the new label.
 */
export function cellsCsv(report: SmearReport): string {
  const before = new Map((report.corrections ?? []).map(({ file, label }) => [file, label]));
  const more = before.size > 0 ? ["corrected_from"] : [];
  const header = ["file", "label", "probability", ...CLASSES, "granularity", "dysplastic", ...more];
  const rows = report.cells.map((cell) => {
    const network = before.get(cell.file);
    return [...row(cell, network), ...(before.size > 0 ? [network ?? ""] : [])];
  });
  return [header, ...rows].map((cells) => `${cells.map(quoted).join(",")}\n`).join("");
}

/**
 * The probability of a cell's label; null where a person says that it is none of the eight, of which
 * the network says nothing.
 *
 * @param network what the network called it, where a person corrected it.
 */
export function labelProbability(cell: CellRow, network: Label | undefined): number | null {
  if (network === undefined) return cell.probability;
  return cell.label === OTHER ? null : cell.probabilities[cell.label];
}

function row(cell: CellRow, network: Label | undefined): string[] {
  return [
    safeCell(cell.file),
    cell.label,
    floatOrNothing(labelProbability(cell, network)),
    ...CLASSES.map((name) => pythonFloat(cell.probabilities[name])),
    floatOrNothing(cell.granularity),
    cell.dysplastic === null ? "" : String(cell.dysplastic),
  ];
}

function floatOrNothing(value: number | null): string {
  return value === null ? "" : pythonFloat(value);
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
