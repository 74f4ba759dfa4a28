/** Both networks, open on some engine: pixels in, answers out. */

import { CLASSES } from "../cells";
import { CellnetError } from "../errors";
import type { Pixels } from "../images/decode";
import type { Bundles } from "./bundles";
import { type ActivationMap, type Engine, ROLES, type Role } from "./types";

export type Networks = {
  readonly engine: Engine;
  /** How many images of one size are best computed together. */
  readonly batch: number;
  /** What was fetched for each network. */
  readonly bytes: Readonly<Record<Role, number>>;
  /**
   * Run a network on images; each answer depends on its own image alone.
   *
   * @returns for each image its numbers: eight probabilities, or one score.
   * @throws CellnetError where the engine has lost its processor, or answers what it never does.
   */
  answer(role: Role, images: readonly Pixels[]): Promise<number[][]>;
  /** The signed activation map of one output for one image. */
  map(role: Role, image: Pixels, output: number): Promise<ActivationMap>;
  /** Free all that is held. */
  dispose(): void;
};

/** The eight probabilities of a cell add up to one; rounding takes or adds less than this. */
const SUM_TOLERANCE = 1e-3;

/** How far an answer to a golden image may lie from the bundle's own, as in `cellnet verify`. */
const GOLDEN_TOLERANCE: Readonly<Record<Role, number>> = { model1: 0.02, dysplasianet: 1e-3 };

/**
 * Check that an answer is one that the network can give.
 *
 * @throws CellnetError where it is not.
 */
export function checkAnswer(role: Role, numbers: readonly number[], engine: Engine): void {
  const isNaming = role === "model1";
  const isWhole = numbers.length === (isNaming ? CLASSES.length : 1);
  const isShare = numbers.every((number) => number >= 0 && number <= 1);
  const sum = numbers.reduce((all, number) => all + number, 0);
  if (!isWhole || !isShare || (isNaming && Math.abs(sum - 1) > SUM_TOLERANCE)) {
    throw new CellnetError(
      `${role} answered what it never does ([${numbers}]) on ${engine.label}: reload the page, or ` +
        "use another browser",
    );
  }
}

/**
 * Check that an engine answers as the bundles do, on their golden images.
 *
 * @returns milliseconds an image for both networks, once everything is warm.
 * @throws CellnetError where it does not.
 */
export async function prove(networks: Networks, bundles: Bundles): Promise<number> {
  let time = 0;
  for (const role of ROLES) {
    const { images, outputs } = bundles[role].golden;
    const found = await networks.answer(role, images);
    const differences = outputs.flatMap((wanted, place) =>
      wanted.map((number, nth) => Math.abs(number - (found[place]?.[nth] ?? Number.NaN))),
    );
    const worst = Math.max(...differences);
    if (!(worst <= GOLDEN_TOLERANCE[role])) {
      throw new CellnetError(
        `it answers wrongly: the answers of ${role} differ by ${worst.toPrecision(2)} from those ` +
          "that they should be",
      );
    }
    const again = images.slice(0, networks.batch);
    const start = performance.now();
    await networks.answer(role, again);
    time += (performance.now() - start) / again.length;
  }
  return time;
}
