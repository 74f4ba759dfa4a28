/**
 * The scale of granularity scores. Networks put most cells close to 0 or to 1, and the cut-off may
 * stand at 0.97 or at 0.9999; on an even scale all that matters would fall on one spot. The log-odds
 * stretch both ends.
 */

/** Log-odds at the ends of the scale: scores of 0.0001 and 0.9999, or what a cut-off asks for. */
const LEAST = Math.log(1e-4 / (1 - 1e-4));

export type Stretch = { readonly low: number; readonly high: number };

/** Choose the scale's ends so that the cut-off lies well within. */
export function stretchFor(cutoff: number): Stretch {
  const at = logOdds(cutoff);
  return { low: Math.min(LEAST, at - 1), high: Math.max(-LEAST, at + 1) };
}

/** Place a score on the scale, from 0 (left end) to 1; scores beyond the ends stand on them. */
export function place(score: number, { low, high }: Stretch): number {
  return Math.min(1, Math.max(0, (logOdds(score) - low) / (high - low)));
}

/** The score at a place of the scale. */
export function scoreAt(at: number, { low, high }: Stretch): number {
  return 1 / (1 + Math.exp(-(low + at * (high - low))));
}

/** Scores that are written under the scale. */
export function ticks(stretch: Stretch): readonly { readonly at: number; readonly text: string }[] {
  return ["0.001", "0.01", "0.1", "0.5", "0.9", "0.99", "0.999"].map((text) => ({
    at: place(Number(text), stretch),
    text,
  }));
}

function logOdds(score: number): number {
  const kept = Math.min(1 - 1e-12, Math.max(1e-12, score));
  return Math.log(kept / (1 - kept));
}
