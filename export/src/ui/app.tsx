/** The page: what stands where, what is dropped on it, and what a screen reader is told. */

import type { ComponentChildren } from "preact";
import { useSyncExternalStore } from "preact/compat";
import { useEffect, useState } from "preact/hooks";
import { fromDrop, fromFiles } from "../files";
import { count } from "../report/text";
import { RESEARCH_USE } from "../report/words";
import { Ask } from "./ask";
import { EngineLine, EngineTrouble } from "./engine-line";
import { exampleFiles } from "./example";
import { keepingFocus } from "./focus";
import { Hint } from "./hint";
import { commandOf, isTyping, KeysDialog } from "./keys";
import type { Update } from "./offline";
import { useForgetting } from "./pictures";
import { Result } from "./result";
import type { Session } from "./session";
import { SmearList } from "./smear-list";
import { Start } from "./start";
import { useDropping, useTaking } from "./taking";

export function App({ session, update }: { session: Session; update: Update }) {
  const state = useSyncExternalStore(session.subscribe, () => session.state);
  const isNewer = useSyncExternalStore(update.subscribe, () => update.isWaiting);
  const [dialog, setDialog] = useState<"keys" | "clear" | null>(null);
  const take = useTaking(session);
  const isOver = useDropping((data) => take(fromDrop(data)));
  usePageKeys(session, () => setDialog("keys"));
  useForgetting(state.smears);
  const onFiles = (files: readonly File[]) => take(Promise.resolve(fromFiles(files)));
  const onNothing = () => session.tell(NO_FOLDER);
  const onExample = () => take(exampleFiles().then(fromFiles));
  const smear = session.find(state.open);
  return (
    <>
      <a class="skip" href="#main">
        Skip to the result
      </a>
      <header class="bar">
        <div class="brand">
          <img src="./icon.svg" alt="" width="32" height="32" />
          <span>cellnet</span>
        </div>
        <strong class="pill research">{RESEARCH_USE}</strong>
        <EngineLine state={state.engine} />
        <button type="button" class="quiet keys-button" onClick={() => setDialog("keys")}>
          Keys <Hint of="?" />
        </button>
      </header>
      <Banners>
        {isNewer && (
          <Banner>
            <span>A newer version of this page is ready.</span>
            <button type="button" onClick={() => update.apply()}>
              Use it now
            </button>
          </Banner>
        )}
        {state.engine.kind === "failed" && (
          <EngineTrouble message={state.engine.message} onAgain={() => session.openModels()} />
        )}
        {state.unkept && (
          <Banner>
            <span>
              This browser cannot keep the smears ({state.unkept}): they will be gone when the page
              is closed. Export what you need.
            </span>
          </Banner>
        )}
        {state.offers.map((offer) => (
          <Banner key={offer.ids.join()}>
            <span>{offer.choice.told}</span>
            <div class="buttons">
              <button
                type="button"
                onClick={() => keepingFocus(() => session.readOtherwise(offer))}
              >
                {offer.choice.action}
              </button>
              <button type="button" onClick={() => keepingFocus(() => session.putAway(offer))}>
                Put away
              </button>
            </div>
          </Banner>
        ))}
        {state.notice && (
          <Banner>
            <span>{state.notice}</span>
            <button type="button" onClick={() => keepingFocus(() => session.tell(""))}>
              Put away
            </button>
          </Banner>
        )}
      </Banners>
      {state.smears.length === 0 ? (
        <main id="main" tabIndex={-1}>
          <Start
            engine={state.engine}
            onFiles={onFiles}
            onNothing={onNothing}
            onExample={onExample}
          />
        </main>
      ) : (
        <div class="desk">
          <SmearList
            session={session}
            state={state}
            onFiles={onFiles}
            onNothing={onNothing}
            onClear={() => setDialog("clear")}
          />
          <main id="main" tabIndex={-1}>
            {smear && (
              <Result key={smear.id} session={session} smear={smear} engine={state.engine} />
            )}
          </main>
        </div>
      )}
      <footer class={`foot${state.smears.length === 0 ? " narrow" : ""}`}>
        <p>
          <strong>{RESEARCH_USE}</strong> Images, results and corrections stay in this browser on
          this computer until you clear them. Nothing is sent anywhere.
        </p>
      </footer>
      <div class="unseen" role="status" id="said">
        <span key={state.said.number}>{state.said.text}</span>
      </div>
      {isOver && (
        <div class="over" aria-hidden="true">
          <p>Drop to read</p>
        </div>
      )}
      {dialog === "keys" && <KeysDialog onClose={() => setDialog(null)} />}
      {dialog === "clear" && (
        <Ask
          question="Clear everything from this computer?"
          action="Clear everything"
          onDo={() => void session.clear()}
          onClose={() => setDialog(null)}
        >
          {count(state.smears.length, "smear")} with all images, results and corrections will be
          removed from this browser. Your own files are not touched. This cannot be undone.
        </Ask>
      )}
    </>
  );
}

/** A browser does not tell an empty folder from none. */
const NO_FOLDER = "No folder was taken in: none was chosen, or the chosen one is empty.";

function Banners({ children }: { children: ComponentChildren }) {
  return <div class="banners">{children}</div>;
}

function Banner({ children }: { children: ComponentChildren }) {
  return (
    <div class="banner" role="note">
      {children}
    </div>
  );
}

/** The keys that work wherever the focus is. */
function usePageKeys(session: Session, showKeys: () => void): void {
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (document.querySelector("dialog[open]") || isTyping(event)) return;
      const { open } = session.state;
      if (event.key === "?" && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        showKeys();
      } else if (open !== null && commandOf(event)?.kind === "undo") {
        event.preventDefault();
        keepingFocus(() => session.undo(open));
      }
    };
    document.addEventListener("keydown", onKeyDown);
    return () => document.removeEventListener("keydown", onKeyDown);
  }, [session, showKeys]);
}
