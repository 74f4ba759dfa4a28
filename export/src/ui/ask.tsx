/** Asks once more before something is gone for good. */

import type { ComponentChildren } from "preact";
import { Modal } from "./modal";

type Props = {
  question: string;
  /** What is written on the button that does it. */
  action: string;
  onDo: () => void;
  onClose: () => void;
  children: ComponentChildren;
};

export function Ask({ question, action, onDo, onClose, children }: Props) {
  return (
    <Modal label={question} class="ask" onClose={onClose}>
      <p>{children}</p>
      <div class="buttons">
        <button
          type="button"
          class="danger"
          onClick={() => {
            onClose();
            onDo();
          }}
        >
          {action}
        </button>
        <button type="button" onClick={onClose}>
          Keep
        </button>
      </div>
    </Modal>
  );
}
