/** One cell, large: what the networks say of it, why, and what a person says. */

import { useState } from "preact/hooks";
import { type Label, OTHER } from "../cells";
import { count, fixed, printable, sixDigits } from "../report/text";
import { TITLES } from "../report/words";
import type { CellRow } from "../rules/smear";
import { MapControls, questionsFor, useMap } from "./cell-map";
import { spoken } from "./gallery";
import { Hint } from "./hint";
import { commandOf, isSliding } from "./keys";
import { Modal } from "./modal";
import { Names, ONE } from "./names";
import { Overlay } from "./overlay";
import { Picture } from "./pictures";
import { ScoreScale, scoreDigits } from "./scale";
import type { Session } from "./session";
import { type Judgement, networkLabel, type Smear } from "./smear";
import { stretchFor } from "./stretch";

type Props = {
  session: Session;
  smear: Smear;
  judged: Judgement;
  file: string;
  /** The cells that the arrows lead through. */
  order: readonly string[];
  onMove: (file: string) => void;
  onClose: () => void;
  focusAfter: () => HTMLElement | null;
};

export function CellDialog(props: Props) {
  const cell = props.judged.report.cells.find(({ file }) => file === props.file);
  return cell ? <OpenCell {...props} cell={cell} /> : null;
}

function OpenCell({ cell, ...props }: Props & { cell: CellRow }) {
  const { session, smear, judged, file, order, onMove } = props;
  const { report, point } = judged;
  const [hasMap, setMap] = useState(false);
  const [opacity, setOpacity] = useState(0.75);
  const [asked, setAsked] = useState("");
  const network = networkLabel(smear, file) ?? OTHER;
  const input = smear.files.find((one) => one.file === file);
  const questions = questionsFor(cell, network);
  const question = questions.find(({ key }) => key === asked) ?? questions[0];
  const { map, speaks, words } = useMap(session, input, hasMap ? question : null);
  const place = order.indexOf(file);
  const digits = scoreDigits(report.cutoff);

  const move = (step: 1 | -1) => {
    const next = order[place + step];
    if (next !== undefined) onMove(next);
  };
  const undo = () => {
    const undone = session.undo(smear.id);
    if (undone !== undefined) onMove(undone);
  };
  const onName = (label: Label) => void session.relabel(smear.id, file, label);
  const onKeyDown = (event: KeyboardEvent) => {
    const command = commandOf(event);
    const step = stepOf(event);
    if (command?.kind === "relabel") onName(command.label);
    else if (command?.kind === "undo") undo();
    else if (command?.kind === "map") setMap(!hasMap);
    else if (step) move(step);
    else return;
    event.preventDefault();
  };

  return (
    <Modal
      label={printable(file)}
      class="cell-dialog"
      onClose={props.onClose}
      onKeyDown={onKeyDown}
      focusAfter={props.focusAfter}
    >
      <div class="unseen" role="status">
        {`Cell ${place + 1} of ${order.length}: ` +
          `${spoken(cell, network === cell.label ? undefined : network, digits)}. ` +
          `${TITLES[report.decision]}, ${report.dysplastic} of ${report.neutrophils} dysplastic.`}
      </div>
      <div class="cell-columns">
        <div>
          <div class="large-frame">
            <div class="picture-box">
              {input && <Picture blob={input.blob} isLazy={false} />}
              {map && speaks && <Overlay map={map} speaks={speaks} opacity={opacity} />}
            </div>
          </div>
          <div class="row">
            <button type="button" disabled={place <= 0} onClick={() => move(-1)}>
              <Hint of="←" /> Previous
            </button>
            <span class="soft small">
              {place + 1} of {order.length}
            </span>
            <button type="button" disabled={place >= order.length - 1} onClick={() => move(1)}>
              Next <Hint of="→" />
            </button>
          </div>
          <MapControls
            questions={questions}
            question={question}
            isOn={hasMap}
            opacity={opacity}
            words={words}
            onToggle={() => setMap(!hasMap)}
            onAsk={setAsked}
            onOpacity={setOpacity}
          />
        </div>
        <div>
          <Verdict cell={cell} network={network} />
          {cell.granularity !== null && (
            <div class="granularity">
              <h3>
                Granularity {fixed(cell.granularity, digits)}{" "}
                <span class="soft">cut-off {sixDigits(report.cutoff)}</span>
              </h3>
              <ScoreScale
                score={cell.granularity}
                isDysplastic={cell.dysplastic === true}
                cutoff={report.cutoff}
                stretch={stretchFor(point.cutoff)}
              />
              <p class="ends small soft" aria-hidden="true">
                <span>fewer granules</span>
                <span>more granules</span>
              </p>
            </div>
          )}
          <Names cell={cell} isPending={smear.pending.has(file)} onName={onName} />
          <div class="row outcome">
            <span class={`small ${report.decision}`}>
              <strong class="verdict-word">{TITLES[report.decision]}</strong>{" "}
              <span class="soft">
                {report.dysplastic} of {count(report.neutrophils, "neutrophil")} dysplastic
              </span>
            </span>
            <button type="button" disabled={smear.steps.length === 0} onClick={undo}>
              Undo <Hint of="u" />
            </button>
          </div>
        </div>
      </div>
    </Modal>
  );
}

function Verdict({ cell, network }: { cell: CellRow; network: Label }) {
  const state = cell.dysplastic === null ? "" : cell.dysplastic ? "dysplastic" : "normal";
  return (
    <p class={`cell-verdict ${state}`}>
      <strong>{ONE[cell.label]}</strong>
      {state && <span class={`pill ${state}`}>{state}</span>}
      {network !== cell.label && <span class="pill mine">corrected, was {network}</span>}
    </p>
  );
}

/** Which way a key leads among the open cells; arrows in a field are the field's. */
function stepOf(event: KeyboardEvent): 1 | -1 | null {
  if (isSliding(event) || event.ctrlKey || event.metaKey || event.altKey) return null;
  if (event.key === "ArrowRight" || event.key === "ArrowDown") return 1;
  if (event.key === "ArrowLeft" || event.key === "ArrowUp") return -1;
  return null;
}
