/** What computes, how far its models have come, and what to do where they do not come. */

import { fixed } from "../report/text";
import type { EngineState } from "./session";

const MEGA = 1e6;

/** Whether a service worker can keep the page: not on plain HTTP, but for this computer itself. */
const isKept = "serviceWorker" in navigator;

/** One line for the head of the page. */
export function EngineLine({ state }: { state: EngineState }) {
  if (state.kind === "ready") {
    return (
      <span class="engine soft small" title="What computes on this computer">
        {state.engine.label}
      </span>
    );
  }
  if (state.kind === "failed") return <span class="engine small bad">no models</span>;
  return <span class="engine soft small">{loading(state)}</span>;
}

/** The models on their way, as a bar. */
export function EngineProgress({ state }: { state: EngineState }) {
  if (state.kind !== "loading") return null;
  return (
    <div class="progress">
      <progress
        aria-label="Models loaded"
        {...(state.total > 0 ? { value: state.done, max: state.total } : {})}
      />
      <span class="soft small">
        {loading(state)}
        {isKept && " Once only: after that this page also works without a network."}
      </span>
    </div>
  );
}

function loading(state: EngineState & { kind: "loading" }): string {
  if (state.total === 0) return "Loading the models …";
  if (state.done >= state.total) return "Preparing the models …";
  return `Loading the models: ${fixed(state.done / MEGA, 0)} of ${fixed(state.total / MEGA, 0)} MB.`;
}

export function EngineTrouble({ message, onAgain }: { message: string; onAgain: () => void }) {
  return (
    <div class="banner bad" role="alert">
      <div>
        <strong>The models could not be loaded, so no cell can be read.</strong>
        <p>{message}</p>
        <p class="small">
          What to do: check that the computer is online and try again. If it goes on, reload the
          page, or try another up-to-date browser (Chrome, Edge, Firefox, Safari), or tell whoever
          runs this page what stands above.
        </p>
      </div>
      <button type="button" onClick={onAgain}>
        Try again
      </button>
    </div>
  );
}
