/** A smear's cells as a table: the columns and the spelling of `cells_csv` in `cellnet/report.py`. */

import { CLASSES } from "../cells";
import type { CellRow, SmearReport } from "../rules/smear";
import { pythonFloat, safeCell } from "./text";

/** Make a table of a smear: a header, then a row for each cell. */
export function cellsCsv(report: SmearReport): string {
  const header = ["file", "label", "probability", ...CLASSES, "granularity", "dysplastic"];
  return [header, ...report.cells.map(row)]
    .map((cells) => `${cells.map(quoted).join(",")}\n`)
    .join("");
}

function row(cell: CellRow): string[] {
  return [
    safeCell(cell.file),
    cell.label,
    pythonFloat(cell.probability),
    ...CLASSES.map((name) => pythonFloat(cell.probabilities[name])),
    cell.granularity === null ? "" : pythonFloat(cell.granularity),
    cell.dysplastic === null ? "" : String(cell.dysplastic),
  ];
}

function quoted(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
