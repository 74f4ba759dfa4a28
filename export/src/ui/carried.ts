/** Files that are sorted into other smears take along what is known of them. */

import type { Label } from "../cells";
import { type Smear, type Step, sameModels } from "./smear";

/**
 * Give a new smear what is known of its files from the smears that they stood in.
 *
 * @param fresh a smear that nothing is known of yet.
 * @param from smears with the same images, by whatever names.
 */
export function carried(fresh: Smear, from: readonly Smear[]): Smear {
  const read = from.find(({ models }) => models !== null);
  const names = new Map(fresh.files.map(({ file, blob }) => [blob, file]));
  let smear: Smear = { ...fresh, models: read?.models ?? null, engine: read?.engine ?? "" };
  for (const one of from) {
    const moved = new Map<string, string>();
    for (const { file, blob } of one.files) {
      const name = names.get(blob);
      if (name !== undefined) moved.set(file, name);
    }
    const { corrections, steps } = smear;
    smear = {
      ...smear,
      corrections: new Map([...corrections, ...renamed(one.corrections, moved)]),
      steps: [...steps, ...one.steps.flatMap((step) => stepOf(step, moved))],
    };
    // What other models say is no part of the same reading.
    if (!one.models || !smear.models || !sameModels(one.models, smear.models)) continue;
    smear = {
      ...smear,
      readings: [...smear.readings, ...listed(one.readings, moved)],
      unreadable: [...smear.unreadable, ...listed(one.unreadable, moved)],
      scores: new Map([...smear.scores, ...renamed(one.scores, moved)]),
    };
  }
  return smear;
}

type Names = ReadonlyMap<string, string>;

function renamed<T>(values: ReadonlyMap<string, T>, names: Names): [string, T][] {
  return [...values].flatMap(([file, value]): [string, T][] => {
    const name = names.get(file);
    return name === undefined ? [] : [[name, value]];
  });
}

function listed<T extends { readonly file: string }>(items: readonly T[], names: Names): T[] {
  return items.flatMap((item) => {
    const name = names.get(item.file);
    return name === undefined ? [] : [{ ...item, file: name }];
  });
}

/** A step of another smear; nothing where it was on none of the files. */
function stepOf(step: Step, names: Names): Step[] {
  if (!("all" in step)) return listed([step], names);
  const all: ReadonlyMap<string, Label> = new Map(renamed(step.all, names));
  return all.size > 0 ? [{ all }] : [];
}
