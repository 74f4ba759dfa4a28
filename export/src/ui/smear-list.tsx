/** All smears, each with its decision at a glance; what is under way, with a way to stop it. */

import { count, printable } from "../report/text";
import { TITLES } from "../report/words";
import { Choosers } from "./choosers";
import { EngineProgress } from "./engine-line";
import type { Session, State } from "./session";
import { judgement, type Smear } from "./smear";

type Props = {
  session: Session;
  state: State;
  onFiles: (files: readonly File[]) => void;
  onNothing: () => void;
  onClear: () => void;
};

export function SmearList({ session, state, onFiles, onNothing, onClear }: Props) {
  const { smears } = state;
  const isHalted = smears.some((smear) => smear.stage === "stopped" || smear.stage === "failed");
  return (
    <nav class="smears" aria-label="Smears">
      <h2>
        Smears <span class="soft">{smears.length}</span>
      </h2>
      <EngineProgress state={state.engine} />
      <Overall session={session} smears={smears} />
      <ul>
        {smears.map((smear) => (
          <li key={smear.id}>
            <button
              type="button"
              class={`smear ${tone(smear)}`}
              aria-current={smear.id === state.open ? "true" : undefined}
              onClick={() => session.show(smear.id)}
            >
              <span class="name">{printable(smear.name)}</span>
              <Glance smear={smear} />
            </button>
          </li>
        ))}
      </ul>
      {isHalted && state.engine.kind === "ready" && (
        <button type="button" class="wide" onClick={() => session.resume()}>
          Go on reading
        </button>
      )}
      <details class="more" open={matchMedia("(min-width: 64rem)").matches}>
        <summary>Add or clear</summary>
        <p class="soft small">Drop more folders anywhere, or</p>
        <div class="buttons">
          <Choosers onFiles={onFiles} onNothing={onNothing} />
        </div>
        <button type="button" class="quiet danger-text" onClick={onClear}>
          Clear everything from this computer
        </button>
      </details>
    </nav>
  );
}

/** How far all of it is. */
function Overall({ session, smears }: { session: Session; smears: readonly Smear[] }) {
  const busy = smears.filter(({ stage }) => stage === "waiting" || stage === "reading");
  if (busy.length === 0) return null;
  const total = busy.reduce((sum, smear) => sum + smear.files.length, 0);
  const done = busy.reduce((sum, smear) => sum + readOf(smear), 0);
  return (
    <div class="progress">
      <progress aria-label="Images read" value={done} max={Math.max(total, 1)} />
      <div class="row">
        <span class="soft small">
          {done} of {count(total, "image")}
        </span>
        <button type="button" onClick={() => session.stop()}>
          Cancel
        </button>
      </div>
    </div>
  );
}

function Glance({ smear }: { smear: Smear }) {
  const { stage } = smear;
  if (stage !== "read") {
    const told = {
      waiting: "waiting",
      reading: `${readOf(smear)} of ${smear.files.length} read`,
      stopped: `stopped at ${readOf(smear)} of ${smear.files.length}`,
      failed: "could not be read",
    }[stage];
    return <span class="glance soft">{told}</span>;
  }
  const judged = judgement(smear);
  if (typeof judged === "string") return <span class="glance">nothing can be decided</span>;
  const { report } = judged;
  const marks = [
    report.decision !== "indeterminate" && report.confidence === "borderline" ? "borderline" : "",
    smear.corrections.size > 0 ? "corrected" : "",
    smear.trial ? "trial values" : "",
  ].filter(Boolean);
  return (
    <>
      <span class="glance">
        <span class="verdict-word">{TITLES[report.decision]}</span>
        {marks.length > 0 && <span class="soft"> {marks.join(", ")}</span>}
      </span>
      <span class="glance soft">
        {report.neutrophils === 0
          ? "no neutrophil"
          : `${report.dysplastic} of ${count(report.neutrophils, "neutrophil")} dysplastic`}
      </span>
    </>
  );
}

function tone(smear: Smear): string {
  if (smear.stage !== "read") return smear.stage;
  const judged = judgement(smear);
  return typeof judged === "string" ? "indeterminate" : judged.report.decision;
}

export function readOf(smear: Smear): number {
  return smear.readings.length + smear.unreadable.length;
}
