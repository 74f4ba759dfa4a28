/** A dialog over the page: the page behind is out of reach, Esc closes, the focus goes back. */

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";
import { Hint } from "./hint";

type Props = {
  label: string;
  class: string;
  onClose: () => void;
  onKeyDown?: (event: KeyboardEvent) => void;
  /** Where the focus goes when the dialog ends; else to where it was. */
  focusAfter?: () => HTMLElement | null;
  children: ComponentChildren;
};

export function Modal({ label, class: name, onClose, onKeyDown, focusAfter, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  const after = useRef(focusAfter);
  after.current = focusAfter;
  const id = useId();
  // Before the next event: a key that is pressed at once is meant for the dialog.
  useLayoutEffect(() => {
    const before = document.activeElement;
    const its = dialog.current;
    its?.showModal();
    heading.current?.focus();
    return () => {
      // While it is open, nothing else takes the focus.
      its?.close();
      const next = after.current?.() ?? before;
      if (next instanceof HTMLElement && next.isConnected) next.focus();
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      class={`modal ${name}`}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) onClose();
      }}
      {...(onKeyDown ? { onKeyDown } : {})}
    >
      <div class="sheet">
        <header class="sheet-head">
          <h2 id={id} ref={heading} tabIndex={-1}>
            {label}
          </h2>
          <button type="button" class="quiet" onClick={onClose}>
            Close <Hint of="Esc" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
