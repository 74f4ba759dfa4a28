/** Sliders for cut-off and threshold: what would change, and where the fitted values are. */

import { useMemo } from "preact/hooks";
import { percent, sixDigits } from "../report/text";
import { changed } from "./changes";
import { ScoreStrip, ScoreTicks } from "./scale";
import type { Session } from "./session";
import type { Judgement, Smear } from "./smear";
import { place, scoreAt, stretchFor } from "./stretch";

/** Steps of the cut-off's slider over its whole scale. */
const STEPS = 1000;
/** Steps of the threshold's slider: half per cents. */
const SHARES = 200;

type Props = { session: Session; smear: Smear; judged: Judgement };

export function Trial({ session, smear, judged }: Props) {
  const { report, fitted, point } = judged;
  const stretch = useMemo(() => stretchFor(point.cutoff), [point.cutoff]);
  const { normal, dysplastic } = useMemo(() => {
    const scores = (isDysplastic: boolean) =>
      report.cells.flatMap((cell) =>
        cell.granularity !== null && cell.dysplastic === isDysplastic ? [cell.granularity] : [],
      );
    return { normal: scores(false), dysplastic: scores(true) };
  }, [report]);
  const attempt = (cutoff: number, threshold: number) => {
    const isFitted = cutoff === point.cutoff && threshold === point.threshold;
    session.tryPoint(smear.id, isFitted ? null : { cutoff, threshold });
  };
  const fittedStep = Math.round(STEPS * place(point.cutoff, stretch));
  const fittedShare = Math.round(SHARES * point.threshold);
  const digits = sixDigits(report.cutoff);
  return (
    <details class="card trial no-print">
      <summary>
        What if? <span class="soft">Try another cut-off or threshold</span>
      </summary>
      <div class="trial-body">
        <p class="soft small intro">
          Try another cut-off or threshold on this smear. Everything on the page follows, and so do
          the saved report and the print; the fitted values, marked ▲, are what the decision should
          rest on.
        </p>
        <div class="slider">
          <label for="cutoff">
            Cell cut-off <output for="cutoff">{digits}</output>
          </label>
          <p class="soft small">
            Granularity of each neutrophil on a scale stretched at both ends; at or below the
            cut-off it is dysplastic.
          </p>
          <ScoreStrip
            normal={normal}
            dysplastic={dysplastic}
            cutoff={report.cutoff}
            fitted={point.cutoff}
            stretch={stretch}
          />
          <input
            id="cutoff"
            type="range"
            min="0"
            max={STEPS}
            step="1"
            value={Math.round(STEPS * place(report.cutoff, stretch))}
            aria-valuetext={`${digits}${report.cutoff === point.cutoff ? ", the fitted value" : ""}`}
            onInput={(event) => {
              const step = Number(event.currentTarget.value);
              const cutoff = step === fittedStep ? point.cutoff : scoreAt(step / STEPS, stretch);
              attempt(cutoff, report.threshold);
            }}
          />
          <Fitted at={fittedStep / STEPS} text={`fitted ${sixDigits(point.cutoff)}`} />
          <ScoreTicks stretch={stretch} />
        </div>
        <div class="slider">
          <label for="threshold">
            Smear threshold <output for="threshold">{percent(report.threshold)}</output>
          </label>
          <p class="soft small">
            Above this dysplastic share of the neutrophils, a smear is suspected.
          </p>
          <input
            id="threshold"
            type="range"
            min="0"
            max={SHARES}
            step="1"
            value={Math.round(SHARES * report.threshold)}
            aria-valuetext={`${percent(report.threshold)}${report.threshold === point.threshold ? ", the fitted value" : ""}`}
            onInput={(event) => {
              const step = Number(event.currentTarget.value);
              attempt(report.cutoff, step === fittedShare ? point.threshold : step / SHARES);
            }}
          />
          <Fitted at={fittedShare / SHARES} text={`fitted ${percent(point.threshold)}`} />
        </div>
        <div class="consequence" role="status">
          {smear.trial ? (
            changed(fitted, report).map((sentence) => <p key={sentence}>{sentence}</p>)
          ) : (
            <p class="soft">Both stand at their fitted values.</p>
          )}
        </div>
        <div class="buttons">
          <button
            type="button"
            disabled={smear.trial === null}
            onClick={() => session.tryPoint(smear.id, null)}
          >
            Back to the fitted values
          </button>
        </div>
      </div>
    </details>
  );
}

/** The fitted value's mark under a slider, whose thumb runs a little inside its ends. */
function Fitted({ at, text }: { at: number; text: string }) {
  return (
    <div class="fitted-mark" aria-hidden="true">
      <span class={at > 0.6 ? "left" : "right"} style={{ left: `${100 * at}%` }}>
        {at > 0.6 ? `${text} ▲` : `▲ ${text}`}
      </span>
    </div>
  );
}
