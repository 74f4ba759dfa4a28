/** The two cards at the top: the decision, and the differential. */

import { GROUP_NAMES, LABELS, NEUTROPHIL, OTHER } from "../cells";
import { count, percent, sixDigits } from "../report/text";
import { confidenceSentence, decisionSentence, TITLES } from "../report/words";
import type { SmearReport } from "../rules/smear";
import { decisionChange, distance } from "./changes";
import { ShareScale } from "./scale";
import type { Judgement, Smear } from "./smear";

export function DecisionCard({
  smear,
  judged,
  onReset,
}: {
  smear: Smear;
  judged: Judgement;
  onReset: () => void;
}) {
  const { report, fitted, alone, point } = judged;
  return (
    <section class={`card decision ${report.decision}`} aria-labelledby="decision">
      <h2 class="soft small" id="decision">
        Decision
      </h2>
      <div class="verdict">
        <strong>{TITLES[report.decision]}</strong>
        {report.decision !== "indeterminate" && (
          <span class={`pill ${report.confidence}`}>{report.confidence}</span>
        )}
        {smear.corrections.size > 0 && (
          <span class="pill mine">{count(smear.corrections.size, "correction")}</span>
        )}
        {smear.trial && <span class="pill borderline">trial values</span>}
      </div>
      <p>{tight(decisionSentence(report))}</p>
      <p class="soft">
        {tight(confidenceSentence(report))}
        {report.copies &&
          ` Copies counted: ${count(report.copies.length, "image")} of the smear ` +
            `${report.copies.length === 1 ? "repeats" : "repeat"} another.`}
      </p>
      <p class="soft">{tight(distance(report))}</p>
      {smear.corrections.size > 0 && (
        <p class="beside">
          The networks alone, before your corrections: {TITLES[alone.decision]}, {alone.dysplastic}{" "}
          of {count(alone.neutrophils, "neutrophil")} dysplastic.{" "}
          {decisionChange(alone, fitted, "did")}
        </p>
      )}
      {smear.trial && (
        <p class="beside trial-note">
          You are trying a cut-off of {sixDigits(report.cutoff)} and a threshold of{" "}
          {percent(report.threshold)}. At the fitted values ({sixDigits(point.cutoff)} and{" "}
          {percent(point.threshold)}) the decision is {TITLES[fitted.decision]}.{" "}
          <button type="button" class="quiet no-print" onClick={onReset}>
            Back to the fitted values
          </button>
        </p>
      )}
      <ShareScale report={report} fitted={point.threshold} />
    </section>
  );
}

export function DifferentialCard({ report }: { report: SmearReport }) {
  const entries = report.differential;
  const longest = Math.max(...LABELS.map((name) => entries[name].fraction)) || 1;
  const order = [...LABELS].sort(
    (a, b) => entries[b].count - entries[a].count || Number(a === OTHER) - Number(b === OTHER),
  );
  return (
    <section class="card" aria-labelledby="differential">
      <h2 id="differential">Differential</h2>
      <table class="bars">
        <caption class="soft small">
          Share of {count(report.cells.length, "cell")}
          {report.dysplastic > 0 && (
            <>
              ; <span class="key" aria-hidden="true" />
              dysplastic part of the neutrophils
            </>
          )}
        </caption>
        <tbody>
          {order.map((name) => {
            const { count: number, fraction } = entries[name];
            const width = (100 * fraction) / longest;
            const part =
              name === NEUTROPHIL && number > 0 ? (width * report.dysplastic) / number : 0;
            return (
              <tr key={name} class={number === 0 ? "none" : ""}>
                <th scope="row">{GROUP_NAMES[name]}</th>
                <td>
                  <div class="rod" aria-hidden="true">
                    {part > 0 && <i class="part" style={{ width: `${part}%` }} />}
                    <i style={{ width: `${width - part}%` }} />
                  </div>
                </td>
                <td class="number">{number}</td>
                <td class="number">{percent(fraction)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

/** Keep a number and its per cent sign on one line. */
function tight(text: string): string {
  return text.replaceAll(" %", "\u00a0%");
}
