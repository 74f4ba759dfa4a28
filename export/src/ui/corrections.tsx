/** What a person changed in a smear, and the ways back. */

import { count, printable } from "../report/text";
import { keepingFocus } from "./focus";
import { Hint } from "./hint";
import type { Session } from "./session";
import type { Judgement, Smear } from "./smear";

type Props = { session: Session; smear: Smear; judged: Judgement };

export function Corrections({ session, smear, judged }: Props) {
  const corrections = judged.report.corrections ?? [];
  if (corrections.length === 0 && smear.steps.length === 0) return null;
  return (
    <section class="card corrections" aria-labelledby="corrections">
      <h2 id="corrections">
        {corrections.length > 0
          ? `Your ${count(corrections.length, "correction")}`
          : "No corrections"}
      </h2>
      {corrections.length > 0 && (
        <ul class="plain">
          {corrections.map(({ file, label, corrected }) => (
            <li key={file}>
              {printable(file)}: <span class="soft">{label}</span> → <strong>{corrected}</strong>
            </li>
          ))}
        </ul>
      )}
      <div class="buttons no-print">
        <button
          type="button"
          disabled={smear.steps.length === 0}
          onClick={() => keepingFocus(() => session.undo(smear.id))}
        >
          Undo last <Hint of="u" />
        </button>
        {corrections.length > 0 && (
          <button
            type="button"
            class="quiet"
            onClick={() => keepingFocus(() => session.undoAll(smear.id))}
          >
            Undo all
          </button>
        )}
      </div>
    </section>
  );
}
