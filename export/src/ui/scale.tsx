/** The two scales: the dysplastic share of a smear, and the granularity of cells. */

import { fixed, percent } from "../report/text";
import { scaleEnd } from "../report/words";
import { type SmearReport, WHO_SHARE } from "../rules/smear";
import { place, type Stretch, ticks } from "./stretch";

const STEPS = 5;

/** The share with its interval, the threshold, and WHO's line. */
export function ShareScale({ report, fitted }: { report: SmearReport; fitted: number }) {
  const { dysplastic_fraction: share, dysplastic_fraction_ci95: interval, threshold } = report;
  if (share === null || interval === null) return null;
  const end = scaleEnd({ ...report, threshold: Math.max(threshold, fitted) });
  const at = (value: number) => `${(100 * value) / end}%`;
  const isMoved = threshold !== fitted;
  const told =
    `Dysplastic share of the neutrophils ${percent(share)}, 95 % interval ${percent(interval[0])} ` +
    `to ${percent(interval[1])}${report.copies ? " (copies counted)" : ""}, threshold ${percent(threshold)}` +
    `${isMoved ? `, fitted ${percent(fitted)}` : ""}, WHO line ${percent(WHO_SHARE)}`;
  return (
    <>
      <div class="scale" role="img" aria-label={told}>
        <div class="above">
          <span
            class={`label ${threshold / end > 0.6 ? "left" : "right"}`}
            style={{ left: at(threshold) }}
          >
            threshold {percent(threshold)}
          </span>
        </div>
        <div class="track">
          <span
            class="band"
            style={{ left: at(interval[0]), width: at(interval[1] - interval[0]) }}
          />
          {isMoved && <span class="mark fitted" style={{ left: at(fitted) }} />}
          <span class="mark threshold" style={{ left: at(threshold) }} />
          <span class="mark who" style={{ left: at(WHO_SHARE) }} />
          <span class="dot" style={{ left: at(share) }} />
        </div>
        <div class="below soft">
          <span class="label right" style={{ left: at(WHO_SHARE) }}>
            WHO line {percent(WHO_SHARE)}
          </span>
        </div>
        <div class="ticks">
          {Array.from({ length: STEPS + 1 }, (_, step) => (
            <span key={step} style={{ left: `${(100 * step) / STEPS}%` }}>
              {fixed((100 * end * step) / STEPS, 0)} %
            </span>
          ))}
        </div>
      </div>
      <p class="soft small">
        Dysplastic share of the neutrophils: the dot, with its exact 95{"\u00a0"}% interval
        {report.copies && " (copies counted)"}. WHO calls a lineage dysplastic from{" "}
        {fixed(100 * WHO_SHARE, 0)}
        {"\u00a0"}% on; that line is shown, not used.
      </p>
    </>
  );
}

/** Granularity scores on their stretched scale, with the cut-off; the words beside say the same. */
export function ScoreStrip({
  normal,
  dysplastic,
  cutoff,
  fitted,
  stretch,
}: {
  normal: readonly number[];
  dysplastic: readonly number[];
  cutoff: number;
  fitted: number;
  stretch: Stretch;
}) {
  const at = (score: number) => `${100 * place(score, stretch)}%`;
  // One path however many cells there are.
  const rug = (scores: readonly number[]) =>
    scores.map((score) => `M${(1000 * place(score, stretch)).toFixed(1)} 0V10`).join("");
  return (
    <div class="strip" aria-hidden="true">
      <div class="track">
        <span class="side" style={{ width: at(cutoff) }} />
        <svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="presentation">
          <path d={rug(normal)} />
          <path class="dysplastic" d={rug(dysplastic)} />
        </svg>
        {cutoff !== fitted && <span class="mark fitted" style={{ left: at(fitted) }} />}
        <span class="mark threshold" style={{ left: at(cutoff) }} />
      </div>
    </div>
  );
}

/** One cell's score against the cut-off. */
export function ScoreScale({
  score,
  isDysplastic,
  cutoff,
  stretch,
}: {
  score: number;
  isDysplastic: boolean;
  cutoff: number;
  stretch: Stretch;
}) {
  const at = (value: number) => `${100 * place(value, stretch)}%`;
  const digits = scoreDigits(cutoff);
  return (
    <div
      class={`strip one${isDysplastic ? " dysplastic" : ""}`}
      role="img"
      aria-label={`Granularity ${fixed(score, digits)}, cut-off ${fixed(cutoff, digits)}`}
    >
      <div class="track">
        <span class="side" style={{ width: at(cutoff) }} />
        <span class="mark threshold" style={{ left: at(cutoff) }} />
        <span class="dot" style={{ left: at(score) }} />
      </div>
      <ScoreTicks stretch={stretch} />
    </div>
  );
}

export function ScoreTicks({ stretch }: { stretch: Stretch }) {
  return (
    <div class="ticks" aria-hidden="true">
      {ticks(stretch).map(({ at, text }) => (
        <span key={text} style={{ left: `${100 * at}%` }}>
          {text}
        </span>
      ))}
    </div>
  );
}

/** How many decimals a score needs, as in Python's page. */
export function scoreDigits(cutoff: number): number {
  return cutoff >= 0.01 && cutoff <= 0.99 ? 3 : 5;
}
