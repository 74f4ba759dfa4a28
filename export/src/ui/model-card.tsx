/** A model's card, as it was written: what it was trained on, how it was measured, where it fails. */

import { useEffect, useState } from "preact/hooks";
import type { Role } from "../engine/client";
import { told } from "../errors";
import { Modal } from "./modal";

type Props = { role: Role; name: string; onClose: () => void };

export function ModelCard({ role, name, onClose }: Props) {
  const [text, setText] = useState("Loading the card …");
  useEffect(() => {
    let isWanted = true;
    const take = (found: string) => {
      if (isWanted) setText(found);
    };
    fetchCard(role).then(take, (error: unknown) =>
      take(`The card cannot be shown: ${told(error)}.`),
    );
    return () => {
      isWanted = false;
    };
  }, [role]);
  return (
    <Modal label={`Card of ${name}`} class="model-card" onClose={onClose}>
      <pre>{text}</pre>
    </Modal>
  );
}

async function fetchCard(role: Role): Promise<string> {
  const response = await fetch(new URL(`models/${role}/bundle/CARD.md`, document.baseURI));
  if (!response.ok) throw new Error(`the server answers ${response.status}`);
  // Marks for the program that writes its tables, on lines of their own.
  return (await response.text()).replace(/^<!--.*-->\n/gm, "");
}
