/** How a smear was decided: the two cuts and where they come from, the models, what computed. */

import { Fragment } from "preact";
import { useState } from "preact/hooks";
import { ROLES, type Role } from "../engine/types";
import { fixed, percent, sixDigits, upperFirst } from "../report/text";
import type { Fit, OperatingPoint } from "../rules/operating-point";
import type { SmearReport } from "../rules/smear";
import { ModelCard } from "./model-card";

type Props = { report: SmearReport; point: OperatingPoint; engine: string };

const DOES: Readonly<Record<Role, string>> = {
  model1: "Names the cells",
  dysplasianet: "Scores the neutrophils",
};

export function Origin({ report, point, engine }: Props) {
  const { cutoff, threshold, models } = report;
  const [card, setCard] = useState<Role | null>(null);
  return (
    <section aria-labelledby="how">
      <h2 id="how">How this was decided</h2>
      <div class="facts">
        <div class="card">
          <dl>
            <dt>Cell cut-off {sixDigits(cutoff)}</dt>
            <dd>
              A neutrophil is dysplastic where its granularity score is at or below it;{" "}
              {cutoff === point.cutoff ? origin(point.cell) : byHand(sixDigits(point.cutoff))}.
            </dd>
            <dt>Smear threshold {percent(threshold)}</dt>
            <dd>
              A smear is suspected where the dysplastic share of its neutrophils is above it;{" "}
              {threshold === point.threshold
                ? origin(point.smear)
                : byHand(percent(point.threshold))}
              .
            </dd>
            <dt>At least {report.min_neutrophils} neutrophils</dt>
            <dd>With fewer there is no decision.</dd>
          </dl>
        </div>
        <div class="card">
          <dl>
            {ROLES.map((role) => (
              <Fragment key={role}>
                <dt>
                  {DOES[role]}: {models[role].name} {models[role].version}
                </dt>
                <dd>
                  <code>sha256 {models[role].sha256}</code>
                  <button type="button" class="quiet no-print" onClick={() => setCard(role)}>
                    What it was trained on, and where it fails
                  </button>
                </dd>
              </Fragment>
            ))}
            <dt>Computed in this browser</dt>
            <dd>{engine}</dd>
          </dl>
        </div>
      </div>
      {card && <ModelCard role={card} name={models[card].name} onClose={() => setCard(null)} />}
    </section>
  );
}

function byHand(fitted: string): string {
  return `set by hand, the fitted value is ${fitted}`;
}

const COUNTED = [
  ["dysplastic", "dysplastic"],
  ["normal", "normal cells"],
  ["mds", "MDS"],
  ["healthy", "healthy smears"],
] as const;

/** Say what a cut was fitted on, in the words of Python's page, and whether that was simulated. */
function origin(fit: Fit | null): string {
  if (!fit) return "set by hand";
  const on = fit.fitted_on;
  const counts = COUNTED.filter(([key]) => key in on).map(
    ([key, word]) => `${String(on[key])} ${word}`,
  );
  const [low, high] = fit.auc.ci95;
  const split = typeof on.split === "string" ? on.split : "a set";
  const counted = counts.length > 0 ? ` (${counts.join(" and ")})` : "";
  const simulated = typeof on.simulated === "string" ? `. ${upperFirst(on.simulated)}` : "";
  return (
    `fitted on ${split}${counted}, ` +
    `AUC ${fixed(fit.auc.value, 3)} (95 % interval ${fixed(low, 3)} to ${fixed(high, 3)})${simulated}`
  );
}
