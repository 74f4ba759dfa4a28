/** Taking in what is dropped or chosen. */

import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { told } from "../errors";
import type { Dropped } from "../files";
import type { Session } from "./session";

/** Hand smears to the session, or say why there is none. */
export function useTaking(session: Session): (smears: Promise<Dropped>) => void {
  return useCallback(
    (smears) => {
      smears.then(
        (found) => {
          session.add(found);
          // What a person corrects should not be what the browser throws out when it needs room.
          void navigator.storage?.persist?.();
        },
        (error: unknown) => session.tell(told(error)),
      );
    },
    [session],
  );
}

/** Take drops anywhere on the page; answers whether files are held over it. */
export function useDropping(onDrop: (data: DataTransfer) => void): boolean {
  const [isOver, setOver] = useState(false);
  const drop = useRef(onDrop);
  drop.current = onDrop;
  useEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const onDragOver = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const onDragLeave = (event: DragEvent) => {
      if (event.relatedTarget === null) setOver(false);
    };
    const onDrop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      // Else the browser would leave the page and show the file.
      event.preventDefault();
      setOver(false);
      if (event.dataTransfer) drop.current(event.dataTransfer);
    };
    document.addEventListener("dragover", onDragOver);
    document.addEventListener("dragleave", onDragLeave);
    document.addEventListener("drop", onDrop);
    return () => {
      document.removeEventListener("dragover", onDragOver);
      document.removeEventListener("dragleave", onDragLeave);
      document.removeEventListener("drop", onDrop);
    };
  }, []);
  return isOver;
}
