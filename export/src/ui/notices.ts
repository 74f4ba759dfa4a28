/** What is said of a drop beside its smears: whatever did not go as its names would have it. */

import type { Dropped, DroppedSmear } from "../files";
import { printable, some } from "../report/text";
import { type PassedOver, toldPassedOver } from "../rules/smear";
import type { Smear } from "./smear";

/** What the name of packed files ends in. */
const PACKED = /\.(zip|7z|rar|tar|tgz|gz|bz2|xz)$/i;

/**
 * Say what a person should know of a drop; empty where all of it was taken as it is called.
 *
 * @param taken the smears that were made, by what was dropped.
 */
export function takenIn(dropped: Dropped, taken: ReadonlyMap<DroppedSmear, Smear>): string {
  const empty = dropped.smears.filter(({ files }) => files.length === 0);
  const all = [...dropped.passedOver, ...dropped.smears.flatMap(({ passedOver }) => passedOver)];
  return [
    ...empty.map(noImages),
    ...toldPassedOver(dropped.passedOver).map((told) => `Beside the smears, ${told}.`),
    ...packed(all),
    ...named(taken),
  ]
    .map(printable)
    .join(" ");
}

function noImages({ name, passedOver, unreadable }: DroppedSmear): string {
  const told = [
    ...toldPassedOver(passedOver),
    ...unreadable.map(({ file, reason }) => `${file}: ${reason}`),
  ];
  return `There is no image in ${name}${told.length > 0 ? ` (${told.join("; ")})` : ""}.`;
}

function packed(passedOver: readonly PassedOver[]): string[] {
  const found = passedOver.map(({ path }) => path).filter((path) => PACKED.test(path));
  if (found.length === 0) return [];
  const them = found.length === 1 ? ["is", "it"] : ["are", "them"];
  return [`${some(found)} ${them[0]} packed: unpack ${them[1]} first, and drop the folder.`];
}

/** Which smears are called otherwise than their folders, since others are called like these. */
function named(taken: ReadonlyMap<DroppedSmear, Smear>): string[] {
  const others = [...taken].filter(([{ name }, smear]) => name !== smear.name);
  if (others.length === 0) return [];
  const told = others.map(([{ name }, smear]) => `${name} is called ${smear.name}`);
  return [`Smears of these names were there already: ${some(told)}.`];
}
