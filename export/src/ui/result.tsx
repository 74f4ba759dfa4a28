/** One smear's page: from the decision down to the files that could not be used. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { InputFile } from "../engine/client";
import { cellsCsv } from "../report/csv";
import { reportFile, reportJson } from "../report/json";
import { count, localDay, printable, upperFirst } from "../report/text";
import type { PassedOver, SmearReport } from "../rules/smear";
import { Ask } from "./ask";
import { DecisionCard, DifferentialCard } from "./cards";
import { Corrections } from "./corrections";
import { Gallery } from "./gallery";
import { Origin } from "./origin";
import { loadPictures } from "./pictures";
import type { EngineState, Session } from "./session";
import { type Judgement, judgement, type Smear, sameModels } from "./smear";
import { readOf } from "./smear-list";
import { Trial } from "./trial";

type Props = { session: Session; smear: Smear; engine: EngineState };

export function Result({ session, smear, engine }: Props) {
  const judged = smear.stage === "read" ? judgement(smear) : null;
  const [isPrinting, setPrinting] = useState(false);
  const onPrint = async () => {
    setPrinting(true);
    await drawn();
    await loadPictures();
    print();
    setPrinting(false);
  };
  return (
    <>
      <Head session={session} smear={smear} judged={judged} onPrint={() => void onPrint()} />
      {judged === null ? (
        <Unfinished session={session} smear={smear} engine={engine} />
      ) : typeof judged === "string" ? (
        <Undecidable why={judged} />
      ) : (
        <Judged
          session={session}
          smear={smear}
          judged={judged}
          engine={engine}
          isWhole={isPrinting}
        />
      )}
      <FileList
        id="unreadable"
        title="Unreadable files"
        rest="the JSON report lists all"
        files={[...smear.closed, ...smear.unreadable].map(({ file, reason }) => [file, reason])}
      />
      <PassedOverList entries={smear.passedOver} />
    </>
  );
}

function Head({
  session,
  smear,
  judged,
  onPrint,
}: {
  session: Session;
  smear: Smear;
  judged: Judgement | string | null;
  onPrint: () => void;
}) {
  const [isAsking, setAsking] = useState(false);
  const printed = useRef<HTMLSpanElement>(null);
  usePrinting(printed);
  const { readings } = smear;
  const unreadable = smear.closed.length + smear.unreadable.length;
  return (
    <div class="head">
      <h1 tabIndex={-1}>
        <small>Smear</small>
        {printable(smear.name)}
      </h1>
      <p class="soft small">
        {count(readings.length, "cell")} read
        {smear.readAt !== null && ` on ${localDay(smear.readAt)}`}
        {unreadable > 0 && `, ${unreadable} unreadable`}
        <span class="only-print">
          {" "}
          · printed <span ref={printed} />
        </span>
      </p>
      <div class="buttons no-print">
        {judged !== null && typeof judged !== "string" && (
          <Exports report={judged.report} isTrial={smear.trial !== null} onPrint={onPrint} />
        )}
        <button type="button" class="quiet" onClick={() => setAsking(true)}>
          Remove smear
        </button>
      </div>
      {isAsking && (
        <Ask
          question={`Remove ${printable(smear.name)}?`}
          action="Remove smear"
          onDo={() => void session.remove(smear.id)}
          onClose={() => setAsking(false)}
        >
          Its images, results and corrections will be removed from this browser. Your own files are
          not touched. This cannot be undone.
        </Ask>
      )}
    </div>
  );
}

function Exports({
  report,
  isTrial,
  onPrint,
}: {
  report: SmearReport;
  isTrial: boolean;
  onPrint: () => void;
}) {
  return (
    <>
      <button
        type="button"
        onClick={() =>
          save(reportJson(report), reportFile(report, "json", isTrial), "application/json")
        }
      >
        Save JSON
      </button>
      <button
        type="button"
        onClick={() => save(cellsCsv(report), reportFile(report, "csv", isTrial), "text/csv")}
      >
        Save CSV
      </button>
      <button type="button" onClick={onPrint}>
        Print
      </button>
    </>
  );
}

/**
 * Whoever begins a print, the browser's own key too: the day is on it, and the cells of classes that
 * are folded up. A browser waits for no rendering here, so the page itself is changed.
 */
function usePrinting(day: { readonly current: HTMLElement | null }): void {
  useEffect(() => {
    let folded: HTMLDetailsElement[] = [];
    const onBefore = () => {
      if (day.current) day.current.textContent = localDay(Date.now());
      folded = [...document.querySelectorAll<HTMLDetailsElement>("details.group:not([open])")];
      for (const group of folded) group.open = true;
    };
    const onAfter = () => {
      for (const group of folded) group.open = false;
      folded = [];
    };
    addEventListener("beforeprint", onBefore);
    addEventListener("afterprint", onAfter);
    return () => {
      removeEventListener("beforeprint", onBefore);
      removeEventListener("afterprint", onAfter);
    };
  }, []);
}

/** Wait until what was set is on the page. */
function drawn(): Promise<void> {
  return new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
}

/** Hand a file to the browser's downloads. */
function save(content: string, name: string, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: `${type};charset=utf-8` }));
  link.download = name;
  link.click();
  // The download has its own hold on the data by the next turn, but not in every browser at once.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function Unfinished({ session, smear, engine }: Props) {
  const done = readOf(smear);
  const total = smear.files.length;
  const isBusy = smear.stage === "waiting" || smear.stage === "reading";
  return (
    <div class={`card decision ${smear.stage === "failed" ? "failed" : "unfinished"}`}>
      <h2 class="soft small">Decision</h2>
      <div class="verdict">
        <strong>
          {
            {
              waiting: "Waiting",
              reading: "Reading",
              stopped: "Stopped",
              failed: "Could not be read",
              read: "",
            }[smear.stage]
          }
        </strong>
      </div>
      {smear.stage === "failed" ? (
        <p>{smear.failure}</p>
      ) : (
        <p>
          {done} of {count(total, "image")} read.{" "}
          {isBusy
            ? `The decision follows when all are.${WAITS_FOR[engine.kind]}`
            : "A part of a smear gives no decision; what was read is kept."}
        </p>
      )}
      {isBusy ? (
        <div class="progress">
          <progress aria-label="Images of this smear read" value={done} max={Math.max(total, 1)} />
        </div>
      ) : (
        <div class="buttons">
          <button type="button" class="primary" onClick={() => session.resume(smear.id)}>
            {smear.stage === "failed" ? "Try again" : "Go on reading"}
          </button>
        </div>
      )}
    </div>
  );
}

const WAITS_FOR: Readonly<Record<EngineState["kind"], string>> = {
  loading: " The models are still on their way.",
  failed: " It waits for the models, which could not be loaded.",
  ready: "",
};

function Undecidable({ why }: { why: string }) {
  return (
    <div class="card decision indeterminate">
      <h2 class="soft small">Decision</h2>
      <div class="verdict">
        <strong>Nothing can be decided</strong>
      </div>
      <p>{upperFirst(printable(why)).replace(/\.$/, "")}.</p>
    </div>
  );
}

function Judged({
  session,
  smear,
  judged,
  engine,
  isWhole,
}: {
  session: Session;
  smear: Smear;
  judged: Judgement;
  engine: EngineState;
  isWhole: boolean;
}) {
  const { report } = judged;
  const isOld =
    engine.kind === "ready" && smear.models !== null && !sameModels(smear.models, engine.models);
  return (
    <>
      {isOld && (
        <div class="banner" role="note">
          <span>
            This smear was read with earlier models than this page now has; what you see is their
            answer.
          </span>
          <button type="button" onClick={() => session.readAgain(smear.id)}>
            Read again
          </button>
        </div>
      )}
      <div class="top">
        <DecisionCard
          smear={smear}
          judged={judged}
          onReset={() => session.tryPoint(smear.id, null)}
        />
        <DifferentialCard report={report} />
      </div>
      <Warnings warnings={report.warnings} />
      <Corrections session={session} smear={smear} judged={judged} />
      <Trial session={session} smear={smear} judged={judged} />
      <Gallery session={session} smear={smear} judged={judged} isWhole={isWhole} />
      <Origin report={report} point={judged.point} engine={smear.engine} />
    </>
  );
}

function Warnings({ warnings }: { warnings: readonly string[] }) {
  if (warnings.length === 0) return null;
  return (
    <div class="card warnings" role="note" aria-labelledby="warnings">
      <h2 id="warnings">{count(warnings.length, "warning")}</h2>
      <ul>
        {warnings.map((warning) => (
          <li key={warning}>{printable(warning)}</li>
        ))}
      </ul>
    </div>
  );
}

const SHOWN = 200;

function FileList({
  id,
  title,
  rest,
  files,
}: {
  id: string;
  title: string;
  /** Where more of them are than are shown. */
  rest: string;
  files: readonly (readonly [InputFile["file"], string])[];
}) {
  if (files.length === 0) return null;
  return (
    <section aria-labelledby={id} id={`${id}-files`}>
      <h2 id={id}>
        {title} <span class="soft">{files.length}</span>
      </h2>
      <div class="card">
        <ul class="plain">
          {files.slice(0, SHOWN).map(([file, reason]) => (
            <li key={file}>
              {printable(file)}: <span class="soft">{printable(reason)}</span>
            </li>
          ))}
        </ul>
        {files.length > SHOWN && (
          <p class="soft small">
            and {files.length - SHOWN} more; {rest}.
          </p>
        )}
      </div>
    </section>
  );
}

function PassedOverList({ entries }: { entries: readonly PassedOver[] }) {
  return (
    <FileList
      id="passed-over"
      title="Passed over"
      rest="the warnings say how many of each kind"
      files={entries.map(({ path, reason }) => [path, reason])}
    />
  );
}
