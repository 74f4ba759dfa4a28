/** The eight probabilities of a cell; each row is also the button that gives it that name. */

import { LABELS, type Label, OTHER } from "../cells";
import { fixed } from "../report/text";
import type { CellRow } from "../rules/smear";
import { Hint } from "./hint";
import { KEY_OF } from "./keys";

/** What one cell is called. */
export const ONE: Readonly<Record<Label, string>> = {
  basophil: "Basophil",
  eosinophil: "Eosinophil",
  erythroblast: "Erythroblast",
  ig: "Immature granulocyte",
  lymphocyte: "Lymphocyte",
  monocyte: "Monocyte",
  neutrophil: "Neutrophil",
  platelet: "Platelet",
  other: "Other",
};

type Props = { cell: CellRow; isPending: boolean; onName: (label: Label) => void };

export function Names({ cell, isPending, onName }: Props) {
  return (
    <fieldset class="names">
      <legend class="small soft">Probabilities. Press a name, or its key, to correct.</legend>
      {LABELS.map((label) => {
        const probability = label === OTHER ? null : cell.probabilities[label];
        return (
          <button
            key={label}
            type="button"
            class="name-row"
            aria-pressed={label === cell.label}
            onClick={() => onName(label)}
          >
            <Hint of={KEY_OF[label]} />
            <span>{ONE[label]}</span>
            {probability === null ? (
              <span class="soft small none">none of the eight</span>
            ) : (
              <>
                <span class="rod" aria-hidden="true">
                  <i style={{ width: `${100 * probability}%` }} />
                </span>
                <span class="number">{fixed(probability, 3)}</span>
              </>
            )}
          </button>
        );
      })}
      {isPending && (
        <p class="small" role="status">
          Scoring its granularity …
        </p>
      )}
    </fieldset>
  );
}
