/** Every cell of a smear by class, the doubtful ones first; arrows move, a letter re-labels. */

import { memo } from "preact/compat";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { CLASSES, type Label, OTHER } from "../cells";
import { labelProbability } from "../report/csv";
import { fixed, printable, sixDigits } from "../report/text";
import { type CellRow, HOLDS } from "../rules/smear";
import { type Group, groups } from "../rules/uncertainty";
import { CellDialog } from "./cell-dialog";
import { keepingFocus } from "./focus";
import { commandOf, isTyping } from "./keys";
import { isMove, moved } from "./moves";
import { Picture } from "./pictures";
import { scoreDigits } from "./scale";
import type { Session } from "./session";
import type { Judgement, Smear } from "./smear";

/** Up to so many pictures are loaded at once, so that a print begun with the browser's own key has
 * them all; beyond that, the print button waits for them. */
const EAGER = 400;

type Props = {
  session: Session;
  smear: Smear;
  judged: Judgement;
  /** Whether all cells are wanted, however many there are. */
  isWhole: boolean;
};

export function Gallery({ session, smear, judged, isWhole }: Props) {
  const { report } = judged;
  const shown = useMemo(() => groups(report), [report]);
  const blobs = useMemo(
    () => new Map(smear.files.map(({ file, blob }) => [file, blob])),
    [smear.files],
  );
  const networkLabels = useMemo(
    () => new Map((report.corrections ?? []).map(({ file, label }) => [file, label])),
    [report],
  );
  const box = useRef<HTMLDivElement>(null);
  const [current, setCurrent] = useState<string | null>(null);
  // The order in which the arrows go through the open cells stays as it was when the first opened.
  const [opened, setOpened] = useState<{ file: string; order: readonly string[] } | null>(null);
  const digits = scoreDigits(report.cutoff);

  const buttons = () => [
    ...(box.current?.querySelectorAll<HTMLElement>("details[open] .cell") ?? []),
  ];
  const buttonOf = (file: string) =>
    box.current?.querySelector<HTMLElement>(`[data-file="${CSS.escape(file)}"]`) ?? null;
  const focus = (button: HTMLElement | null | undefined) => {
    if (!button) return;
    setCurrent(button.dataset.file ?? null);
    button.focus();
    button.scrollIntoView({ block: "nearest" });
  };
  const open = (file: string) =>
    setOpened({ file, order: shown.flatMap(({ cells }) => cells.map((cell) => cell.file)) });

  const onKeyDown = (event: KeyboardEvent) => {
    const here = (event.target as Element).closest<HTMLElement>("[data-file]");
    const file = here?.dataset.file;
    if (!here || file === undefined || isTyping(event)) return;
    if (isMove(event)) {
      event.preventDefault();
      focus(moved(event.key, here, buttons()));
      return;
    }
    const command = commandOf(event);
    if (!command) return;
    event.preventDefault();
    event.stopPropagation();
    if (command.kind === "undo") {
      let undone: string | undefined;
      keepingFocus(() => {
        undone = session.undo(smear.id);
      });
      requestAnimationFrame(() => focus(undone === undefined ? null : buttonOf(undone)));
    } else if (command.kind === "relabel") {
      const all = buttons();
      const place = all.indexOf(here);
      const next = (all[place + 1] ?? all[place - 1])?.dataset.file;
      const isChanged = here.dataset.label !== command.label;
      void session.relabel(smear.id, file, command.label);
      // The cell leaves for another class; the focus goes to the one that was behind it.
      if (isChanged && next !== undefined) requestAnimationFrame(() => focus(buttonOf(next)));
    }
  };

  return (
    <section aria-labelledby="cells">
      <h2 id="cells">Cells</h2>
      <p class="soft small intro">
        Each class begins with its least certain cells. p is the probability of the label; a class
        holds above {HOLDS}, else the cell is other. The score of a neutrophil is its granularity
        from 0 to 1: at or below {sixDigits(report.cutoff)} it is dysplastic.
        <span class="no-print">
          {" "}
          Arrow keys move between cells, Enter opens one, a letter calls it something else (? shows
          the letters).
        </span>
      </p>
      <div class="groups" ref={box} onKeyDown={onKeyDown}>
        {shown.map((group) => (
          <CellGroup
            key={group.key}
            group={group}
            current={current}
            digits={digits}
            blobs={blobs}
            networkLabels={networkLabels}
            pending={smear.pending}
            isLazy={report.cells.length > EAGER}
            isWhole={isWhole}
            onOpen={open}
            onFocus={setCurrent}
          />
        ))}
      </div>
      {opened && (
        <CellDialog
          session={session}
          smear={smear}
          judged={judged}
          file={opened.file}
          order={opened.order}
          onMove={(file) => setOpened({ ...opened, file })}
          onClose={() => {
            setCurrent(opened.file);
            setOpened(null);
          }}
          focusAfter={() => buttonOf(opened.file)}
        />
      )}
    </section>
  );
}

/** Cells of a class that come to the page at a time. */
const PORTION = 60;

/** Columns that a group of so many cells asks for; small groups stand side by side. */
const COLUMNS = 9;

function CellGroup({
  group,
  current,
  digits,
  blobs,
  networkLabels,
  pending,
  isLazy,
  isWhole,
  onOpen,
  onFocus,
}: {
  group: Group;
  current: string | null;
  digits: number;
  blobs: ReadonlyMap<string, Blob>;
  networkLabels: ReadonlyMap<string, Label>;
  pending: ReadonlySet<string>;
  isLazy: boolean;
  isWhole: boolean;
  onOpen: (file: string) => void;
  onFocus: (file: string) => void;
}) {
  const { key, name, cells } = group;
  const [limit, setLimit] = useState(PORTION);
  const shown = isWhole ? cells : cells.slice(0, limit);
  const left = cells.length - shown.length;
  const more = () => setLimit(limit + PORTION);
  const columns = Math.min(cells.length, COLUMNS);
  const hasCurrent = shown.some((cell) => cell.file === current);
  return (
    <details
      class={`card group ${key}${cells.length <= COLUMNS ? " few" : ""}`}
      style={{ "--room": `${Math.max(columns * 7.5 + 2, 16.5)}rem` }}
      open
    >
      <summary>
        {name} <span class="soft">{cells.length}</span>
      </summary>
      <ul class="cells" style={{ "--fit": `${columns > 6 ? 200 : columns * 7.75}rem` }}>
        {shown.map((cell, place) => (
          <Cell
            key={cell.file}
            cell={cell}
            digits={digits}
            blob={blobs.get(cell.file)}
            network={networkLabels.get(cell.file)}
            isPending={pending.has(cell.file)}
            isLazy={isLazy}
            isStop={hasCurrent ? cell.file === current : place === 0}
            onOpen={onOpen}
            onFocus={onFocus}
          />
        ))}
      </ul>
      {left > 0 && <More left={left} onMore={more} />}
    </details>
  );
}

/** The cells that are not on the page yet: they come when one scrolls near, or asks. */
function More({ left, onMore }: { left: number; onMore: () => void }) {
  const button = useRef<HTMLButtonElement>(null);
  const latest = useRef(onMore);
  latest.current = onMore;
  // Looked at anew after each portion.
  useEffect(() => {
    if (!button.current) return;
    const watch = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) latest.current();
      },
      { rootMargin: "100%" },
    );
    watch.observe(button.current);
    return () => watch.disconnect();
  }, [left]);
  return (
    <p class="left-out">
      <button type="button" ref={button} onClick={onMore}>
        Show more
      </button>
      <span class="soft small">{left} more cells of this class are not shown here.</span>
    </p>
  );
}

type CellProps = {
  cell: CellRow;
  digits: number;
  blob: Blob | undefined;
  /** What the network called it, where a person corrected it. */
  network: Label | undefined;
  isPending: boolean;
  isLazy: boolean;
  /** Whether the tab key stops here. */
  isStop: boolean;
  onOpen: (file: string) => void;
  onFocus: (file: string) => void;
};

const Cell = memo(function Cell(props: CellProps) {
  const { cell, digits, blob, network, isPending, isLazy, isStop } = props;
  const { file, label, granularity, dysplastic } = cell;
  const name = printable(file.slice(file.lastIndexOf("/") + 1));
  const probability = labelProbability(cell, network);
  const like = label === OTHER && network === undefined ? nearest(cell) : "";
  const classes = ["cell", dysplastic ? "dysplastic" : "", network ? "corrected" : ""];
  return (
    <li>
      <button
        type="button"
        class={classes.join(" ")}
        data-file={file}
        data-label={label}
        tabIndex={isStop ? 0 : -1}
        onClick={() => props.onOpen(file)}
        onFocus={() => props.onFocus(file)}
      >
        <span class="unseen">{spoken(cell, network, digits)}</span>
        <span class="frame" aria-hidden="true">
          {blob ? (
            <Picture blob={blob} isLazy={isLazy} />
          ) : (
            <span class="gone">the file is gone</span>
          )}
          {isPending && <span class="badge">scoring …</span>}
          {network && <span class="badge">was {network}</span>}
        </span>
        <span class="facts-of" aria-hidden="true">
          {probability !== null && (
            <span>
              <i>p</i> {fixed(probability, 2)}
            </span>
          )}
          {like && (
            <span>
              <i>like</i> {like}
            </span>
          )}
          {granularity !== null && (
            <span class="score">
              <i>score</i> <b>{fixed(granularity, digits)}</b>
            </span>
          )}
        </span>
        <span class="file" title={printable(file)} aria-hidden="true">
          {name}
        </span>
      </button>
    </li>
  );
}, isSameCell);

function isSameCell(one: CellProps, other: CellProps): boolean {
  const keys = ["digits", "blob", "network", "isPending", "isStop"] as const;
  const facts = ["file", "label", "probability", "granularity", "dysplastic"] as const;
  return (
    keys.every((key) => one[key] === other[key]) &&
    facts.every((key) => one.cell[key] === other.cell[key])
  );
}

/** What a screen reader says of a cell. */
export function spoken(cell: CellRow, network: Label | undefined, digits: number): string {
  const { label, granularity, dysplastic, probability } = cell;
  const parts: string[] = [label];
  if (granularity !== null) {
    parts.push(dysplastic ? "dysplastic" : "normal", `granularity ${fixed(granularity, digits)}`);
  }
  parts.push(
    network
      ? `corrected, the network says ${network} with probability ${fixed(probability, 2)}`
      : `probability ${fixed(probability, 2)}`,
  );
  return `${parts.join(", ")}, ${printable(cell.file)}`;
}

/** The likeliest class of a cell that none claims. */
export function nearest(cell: CellRow): Label {
  return CLASSES.reduce((best, name) =>
    cell.probabilities[name] > cell.probabilities[best] ? name : best,
  );
}
