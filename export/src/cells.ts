/**
 * The names of cells: eight classes in the order of Model 1's outputs, which must never change.
 * The same as `cellnet/cells.py`.
 */

export const CLASSES = [
  "basophil",
  "eosinophil",
  "erythroblast",
  "ig",
  "lymphocyte",
  "monocyte",
  "neutrophil",
  "platelet",
] as const;

export type CellClass = (typeof CLASSES)[number];

/** The label of a cell that no class claims with a probability over 0.5. */
export const OTHER = "other";

/** The class whose cells DysplasiaNet scores. */
export const NEUTROPHIL = "neutrophil";

export type Label = CellClass | typeof OTHER;

/** Every label, `other` last: the order of a differential count. */
export const LABELS: readonly Label[] = [...CLASSES, OTHER];

/** What a group of cells is called on a page. */
export const GROUP_NAMES: Readonly<Record<Label, string>> = {
  basophil: "Basophils",
  eosinophil: "Eosinophils",
  erythroblast: "Erythroblasts",
  ig: "Immature granulocytes",
  lymphocyte: "Lymphocytes",
  monocyte: "Monocytes",
  neutrophil: "Neutrophils",
  platelet: "Platelets",
  other: "Other",
};
