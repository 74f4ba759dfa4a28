/** The page before there is a smear: what it does, and where to drop one. */

import { Choosers } from "./choosers";
import { EngineProgress } from "./engine-line";
import { hasExample } from "./example";
import type { EngineState } from "./session";

type Props = {
  engine: EngineState;
  onFiles: (files: readonly File[]) => void;
  onNothing: () => void;
  onExample: () => void;
};

export function Start({ engine, onFiles, onNothing, onExample }: Props) {
  return (
    <div class="start">
      <h1 tabIndex={-1}>Read a blood smear</h1>
      <p class="lead">
        Every cell is named, every neutrophil is scored for its granules, and the share of
        hypogranulated ones says whether the smear raises the suspicion of a myelodysplastic
        syndrome.
      </p>
      <div class="card dropzone">
        <p class="large">Drop a smear folder here</p>
        <p class="soft">
          One stained cell an image: JPEG, PNG, TIFF, BMP or WebP. Several folders in one become
          several smears.
        </p>
        <div class="buttons">
          <Choosers onFiles={onFiles} onNothing={onNothing} />
          {hasExample && (
            <button type="button" onClick={onExample}>
              Try a drawn example
            </button>
          )}
        </div>
        <EngineProgress state={engine} />
      </div>
      <ul class="promises">
        <li>
          <strong>Nothing leaves this computer.</strong> The networks run inside this page; no image
          and no result is sent anywhere.
        </li>
        <li>
          <strong>You have the last word.</strong> Look at the doubtful cells first, call a cell
          something else, and see the decision follow.
        </li>
        <li>
          <strong>A second pair of eyes, no more.</strong> For research use; the models are not
          approved for diagnosis.
        </li>
      </ul>
    </div>
  );
}
