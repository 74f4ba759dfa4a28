/** The two buttons that open the system's own windows for folders and files. */

import { useRef } from "preact/hooks";

type Props = {
  onFiles: (files: readonly File[]) => void;
  /** The folder's window was closed without a file. */
  onNothing: () => void;
};

export function Choosers({ onFiles, onNothing }: Props) {
  return (
    <>
      <Chooser text="Choose folder" isFolder onFiles={onFiles} onNothing={onNothing} />
      <Chooser text="Choose files" onFiles={onFiles} onNothing={() => {}} />
    </>
  );
}

function Chooser({
  text,
  isFolder = false,
  onFiles,
  onNothing,
}: Props & { text: string; isFolder?: boolean }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <button
        type="button"
        class={isFolder ? "primary" : ""}
        onClick={() => input.current?.click()}
      >
        {text}
      </button>
      <input
        ref={input}
        type="file"
        class={`chooser ${isFolder ? "folder" : "files"}`}
        multiple
        hidden
        aria-hidden="true"
        tabIndex={-1}
        {...(isFolder ? { webkitdirectory: true } : {})}
        onChange={(event) => {
          const files = [...(event.currentTarget.files ?? [])];
          // The same folder can be chosen again.
          event.currentTarget.value = "";
          if (files.length > 0) onFiles(files);
          else onNothing();
        }}
        onCancel={onNothing}
      />
    </>
  );
}
