/** The activation map of an open cell: what it can be asked for, and what it shows, in words. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { CLASSES, type Label } from "../cells";
import type { ActivationMap, InputFile, Role } from "../engine/client";
import { told } from "../errors";
import type { CellRow } from "../rules/smear";
import { Hint } from "./hint";
import { type Speaking, speaking } from "./overlay";
import type { Session } from "./session";

/** Something that a map can be asked for. */
export type Question = {
  readonly key: string;
  readonly name: string;
  readonly role: Role;
  readonly output: number;
  /** Whether what raises the output is shown, or what lowers it. */
  readonly sign: 1 | -1;
  /** What is bright, in words. */
  readonly told: string;
};

/** What can be asked of a cell: its granularity first, then the classes, the likeliest first. */
export function questionsFor(cell: CellRow, network: Label): readonly [Question, ...Question[]] {
  const byProbability = [...CLASSES].sort((a, b) => cell.probabilities[b] - cell.probabilities[a]);
  const names = byProbability.map((name): Question => {
    const answer = name === network ? ", the network's answer" : "";
    return {
      key: name,
      name: `${name}${answer}`,
      role: "model1",
      output: CLASSES.indexOf(name),
      sign: 1,
      told: `Bright: what speaks for ${name}.`,
    };
  });
  if (cell.dysplastic === null) return names as [Question, ...Question[]];
  const granularity: Question = cell.dysplastic
    ? {
        key: "granularity",
        name: "too few granules (dysplastic)",
        role: "dysplasianet",
        output: 0,
        sign: -1,
        told: "Bright: what lowered the granularity score, and so speaks for dysplastic.",
      }
    : {
        key: "granularity",
        name: "enough granules (normal)",
        role: "dysplasianet",
        output: 0,
        sign: 1,
        told: "Bright: what raised the granularity score, and so speaks for normal.",
      };
  return [granularity, ...names];
}

export type ShownMap = {
  readonly map: ActivationMap | null;
  readonly speaks: Speaking | null;
  readonly words: string;
};

/** Compute the map of a question; nothing while none is asked. */
export function useMap(
  session: Session,
  input: InputFile | undefined,
  question: Question | null,
): ShownMap {
  const key = question && input ? `${input.file}/${question.key}/${question.sign}` : "";
  const [found, setFound] = useState<{ key: string; map: ActivationMap | null; trouble: string }>({
    key: "",
    map: null,
    trouble: "",
  });
  // The key stands for cell and question, which are new values at each rendering.
  useEffect(() => {
    if (!question || !input) return;
    let isWanted = true;
    const take = (map: ActivationMap | null, trouble: string) => {
      if (isWanted) setFound({ key, map, trouble });
    };
    session.activationMap(input, question.role, question.output).then(
      (map) => take(map, ""),
      (error: unknown) => take(null, told(error)),
    );
    return () => {
      isWanted = false;
    };
  }, [session, key]);
  const map = key !== "" && found.key === key ? found.map : null;
  const sign = question?.sign ?? 1;
  const speaks = useMemo(() => map && speaking(map, sign), [map, sign]);
  if (!question) return { map: null, speaks: null, words: "" };
  if (found.key === key && found.trouble) {
    return { map: null, speaks: null, words: `There is no map: ${found.trouble}` };
  }
  if (!map || !speaks) return { map: null, speaks: null, words: "Computing the map …" };
  const words = speaks.isFaint
    ? `Hardly anything in this picture speaks for it: ${question.name}.`
    : `${question.told} Relative to its strongest point, and coarse: ${map.width} x ` +
      `${map.height} fields over the picture. An answer that rests on what lies outside the cell ` +
      "deserves doubt.";
  return { map, speaks, words };
}

type ControlsProps = {
  questions: readonly Question[];
  question: Question;
  isOn: boolean;
  opacity: number;
  words: string;
  onToggle: () => void;
  onAsk: (key: string) => void;
  onOpacity: (opacity: number) => void;
};

export function MapControls(props: ControlsProps) {
  const { questions, question, isOn, opacity, words } = props;
  return (
    <fieldset class="map">
      <legend class="unseen">Activation map</legend>
      <div class="row">
        <label>
          <input type="checkbox" checked={isOn} onChange={props.onToggle} /> Activation map{" "}
          <Hint of="a" />
        </label>
        {isOn && (
          <label class="opacity">
            <span class="small soft">Opacity</span>
            <input
              type="range"
              min="0.1"
              max="1"
              step="0.05"
              value={opacity}
              onInput={(event) => props.onOpacity(Number(event.currentTarget.value))}
            />
          </label>
        )}
      </div>
      {isOn && (
        <label class="asked">
          <span class="small soft">What speaks for</span>
          <select value={question.key} onChange={(event) => props.onAsk(event.currentTarget.value)}>
            {questions.map(({ key, name }) => (
              <option key={key} value={key}>
                {name}
              </option>
            ))}
          </select>
        </label>
      )}
      <p class="small soft map-words" role="status">
        {words}
      </p>
    </fieldset>
  );
}
