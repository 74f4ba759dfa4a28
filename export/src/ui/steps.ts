/**
 * What a person changes in a smear. Each is a change that can be made to the smear on the page and
 * to what is kept of it, which another tab may have corrected meanwhile.
 */

import type { Label } from "../cells";
import type { Smear, Step } from "./smear";

type Mine = Pick<Smear, "corrections" | "steps" | "scores">;
export type Edit = (smear: Mine) => Partial<Mine>;

/**
 * Call a cell something else.
 *
 * @param label what a person calls it; null goes back to the network's name.
 * @param score its granularity where only a person calls it neutrophil.
 */
export function corrected(file: string, label: Label | null, score?: number): Edit {
  return ({ corrections, steps, scores }) => {
    const step: Step = { file, before: corrections.get(file) };
    const after = new Map(corrections);
    // The order of corrections is the order in which they can be undone.
    after.delete(file);
    if (label !== null) after.set(file, label);
    return {
      corrections: after,
      steps: [...steps, step],
      scores: score === undefined ? scores : new Map([...scores, [file, score]]),
    };
  };
}

/** Take all corrections back, which is a step too. */
export const allUndone: Edit = ({ corrections, steps }) => ({
  corrections: new Map(),
  steps: [...steps, { all: corrections }],
});

/** Take the last step back. */
export const undone: Edit = ({ corrections, steps }) => {
  const step = steps.at(-1);
  if (!step) return {};
  const left = steps.slice(0, -1);
  // Since then nothing was corrected, or in another smear that was put together with this one.
  if ("all" in step) return { corrections: new Map([...corrections, ...step.all]), steps: left };
  const after = new Map(corrections);
  if (step.before === undefined) after.delete(step.file);
  else after.set(step.file, step.before);
  return { corrections: after, steps: left };
};
