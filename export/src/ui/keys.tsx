/** The keys, what they do, and the page that shows them. */

import type { Label } from "../cells";
import { GROUP_NAMES, LABELS } from "../cells";
import { Modal } from "./modal";

/** The key that calls a cell by each label. */
export const KEY_OF: Readonly<Record<Label, string>> = {
  basophil: "b",
  eosinophil: "e",
  erythroblast: "r",
  ig: "i",
  lymphocyte: "l",
  monocyte: "m",
  neutrophil: "n",
  platelet: "p",
  other: "o",
};

const LABEL_OF = new Map(LABELS.map((label) => [KEY_OF[label], label]));

export type Command =
  | { readonly kind: "relabel"; readonly label: Label }
  | { readonly kind: "undo" }
  | { readonly kind: "map" };

/** What a key asks for while a cell has the focus or is open; null where it asks for nothing. */
export function commandOf(event: KeyboardEvent): Command | null {
  if (event.altKey || event.metaKey || event.ctrlKey)
    return isUndo(event) ? { kind: "undo" } : null;
  if (isTyping(event)) return null;
  const key = event.key.toLowerCase();
  if (key === "u") return { kind: "undo" };
  if (key === "a") return { kind: "map" };
  const label = LABEL_OF.get(key);
  return label ? { kind: "relabel", label } : null;
}

/** Whether this is the system's own key for undo. */
export function isUndo(event: KeyboardEvent): boolean {
  const hasModifier = event.ctrlKey || event.metaKey;
  return hasModifier && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "z";
}

/** Whether the key belongs to a field that takes letters. */
export function isTyping(event: KeyboardEvent): boolean {
  return isOn(event, "select, textarea, input:not([type=checkbox], [type=range])");
}

/** Whether the key belongs to a field that arrows move in. */
export function isSliding(event: KeyboardEvent): boolean {
  return isOn(event, "select, textarea, input:not([type=checkbox])");
}

function isOn(event: KeyboardEvent, fields: string): boolean {
  return event.target instanceof Element && event.target.matches(fields);
}

/** The page of keys. */
export function KeysDialog({ onClose }: { onClose: () => void }) {
  return (
    <Modal label="Keys" class="keys" onClose={onClose}>
      <p class="soft small">
        With a cell in focus, or open; undo works everywhere. The letter calls the cell by that
        name; all counts and the decision follow at once.
      </p>
      <div class="columns">
        <dl class="keylist">
          {LABELS.map((label) => (
            <div key={label}>
              <dt>
                <kbd>{KEY_OF[label]}</kbd>
              </dt>
              <dd>{GROUP_NAMES[label]}</dd>
            </div>
          ))}
        </dl>
        <dl class="keylist">
          <Row keys={["←", "→"]} what="cell before, cell after" />
          <Row keys={["↑", "↓"]} what="row above, row below" />
          <Row keys={["Home", "End"]} what="first and last of a class" />
          <Row keys={["Enter"]} what="open the cell" />
          <Row keys={["Esc"]} what="close it" />
          <Row keys={["a"]} what="activation map on or off" />
          <Row keys={["u", "Ctrl Z"]} what="undo the last correction" />
          <Row keys={["?"]} what="these keys" />
        </dl>
      </div>
    </Modal>
  );
}

function Row({ keys, what }: { keys: readonly string[]; what: string }) {
  return (
    <div>
      <dt>
        {keys.map((key) => (
          <kbd key={key}>{key}</kbd>
        ))}
      </dt>
      <dd>{what}</dd>
    </div>
  );
}
