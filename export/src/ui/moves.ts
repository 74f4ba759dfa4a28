/** Where the arrow keys lead among the cells on the page. */

const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

/** Pixels by which two cells of one row may differ in height. */
const SAME_ROW = 4;

/** Whether a key moves between cells. */
export function isMove(event: KeyboardEvent): boolean {
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey || event.shiftKey;
  return !hasModifier && MOVES.includes(event.key);
}

/**
 * The cell that a key leads to; the same one where there is no further.
 *
 * @param all the cells in reading order.
 */
export function moved(
  key: string,
  from: HTMLElement,
  all: readonly HTMLElement[],
): HTMLElement | undefined {
  const place = all.indexOf(from);
  switch (key) {
    case "ArrowLeft":
      return all[Math.max(place - 1, 0)];
    case "ArrowRight":
      return all[Math.min(place + 1, all.length - 1)];
    case "ArrowUp":
      return inNextRow(from, all.slice(0, place).reverse(), -1) ?? from;
    case "ArrowDown":
      return inNextRow(from, all.slice(place + 1), 1) ?? from;
    default: {
      const group = all.filter((cell) => cell.closest("details") === from.closest("details"));
      return key === "Home" ? group[0] : group.at(-1);
    }
  }
}

/** Of the first row above or below, the cell that is closest sideways. */
function inNextRow(
  from: HTMLElement,
  along: readonly HTMLElement[],
  direction: 1 | -1,
): HTMLElement | undefined {
  const start = from.getBoundingClientRect();
  let row: number | null = null;
  let best: HTMLElement | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const cell of along) {
    const { top, left } = cell.getBoundingClientRect();
    if (direction * (top - start.top) <= SAME_ROW) continue;
    if (row !== null && Math.abs(top - row) > SAME_ROW) break;
    row = top;
    const aside = Math.abs(left - start.left);
    if (aside < least) {
      least = aside;
      best = cell;
    }
  }
  return best;
}
