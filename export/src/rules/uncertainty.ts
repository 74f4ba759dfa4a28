/** Which cells deserve a second look: the same measure and order as `cellnet/smear_page.py`. */

import { CLASSES, GROUP_NAMES, type Label, NEUTROPHIL, OTHER } from "../cells";
import { byName } from "../report/text";
import { type CellRow, HOLDS, type SmearReport } from "./smear";

/**
 * Say how close a cell is to another answer, from 0 (sure) to 1 (on the edge).
 *
 * For the label it is how far the probability stays below 1, relative to the half where it would
 * no longer hold; for a neutrophil also how close the score is to the cut-off, relative to the
 * length of its side of the scale. The larger counts.
 */
export function uncertainty(cell: CellRow, cutoff: number): number {
  const label = Math.min(1, (1 - cell.probability) / (1 - HOLDS));
  if (cell.granularity === null) return label;
  const side = cell.dysplastic ? cutoff : 1 - cutoff;
  return Math.max(label, side > 0 ? 1 - Math.abs(cell.granularity - cutoff) / side : 1);
}

/** Cells that are shown together. */
export type Group = {
  readonly key: "dysplastic" | Label;
  readonly name: string;
  /** The least certain first. */
  readonly cells: readonly CellRow[];
};

/** Cells by class, each sorted by uncertainty; those that need a second look first. */
export function groups(report: SmearReport): Group[] {
  const chosen = (label: Label, dysplastic: boolean | null = null) =>
    report.cells
      .filter((cell) => cell.label === label && cell.dysplastic === dysplastic)
      .map((cell) => ({ cell, doubt: uncertainty(cell, report.cutoff) }))
      .sort((a, b) => b.doubt - a.doubt || byName(a.cell.file, b.cell.file))
      .map(({ cell }) => cell);
  const named = (key: Label): Group => ({
    key,
    name: GROUP_NAMES[key],
    cells: chosen(key),
  });
  const all: Group[] = [
    { key: "dysplastic", name: "Dysplastic neutrophils", cells: chosen(NEUTROPHIL, true) },
    { key: NEUTROPHIL, name: "Normal neutrophils", cells: chosen(NEUTROPHIL, false) },
    named(OTHER),
    ...CLASSES.filter((name) => name !== NEUTROPHIL).map((name) => named(name)),
  ];
  return all.filter((group) => group.cells.length > 0);
}
