/** How a smear was decided: the two cuts and where they come from, the models, what computed. */

import { fixed, percent, sixDigits } from "../report/text";
import type { Fit, OperatingPoint } from "../rules/operating-point";
import type { SmearReport } from "../rules/smear";

type Props = { report: SmearReport; point: OperatingPoint; engine: string };

export function Origin({ report, point, engine }: Props) {
  const { cutoff, threshold, models } = report;
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
            <dt>
              Names the cells: {models.model1.name} {models.model1.version}
            </dt>
            <dd>
              <code>sha256 {models.model1.sha256}</code>
            </dd>
            <dt>
              Scores the neutrophils: {models.dysplasianet.name} {models.dysplasianet.version}
            </dt>
            <dd>
              <code>sha256 {models.dysplasianet.sha256}</code>
            </dd>
            <dt>Computed in this browser</dt>
            <dd>{engine}</dd>
          </dl>
        </div>
      </div>
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

/** Say what a cut was fitted on, in the words of Python's page. */
function origin(fit: Fit | null): string {
  if (!fit) return "set by hand";
  const on = fit.fitted_on;
  const counts = COUNTED.filter(([key]) => key in on).map(([key, word]) => `${on[key]} ${word}`);
  const [low, high] = fit.auc.ci95;
  return (
    `fitted on ${on.split ?? "a set"}${counts.length > 0 ? ` (${counts.join(" and ")})` : ""}, ` +
    `AUC ${fixed(fit.auc.value, 3)} (95 % interval ${fixed(low, 3)} to ${fixed(high, 3)})`
  );
}
