/**
 * What the page knows and does, without a page: the models, the smears, who is read next, what a
 * person corrects. All that is known of a smear is one value that is never changed, only replaced,
 * so that a view need not ask what is new.
 */

import type { Label } from "../cells";
import { NEUTROPHIL } from "../cells";
import type { CellReader, Engine, InputFile, Role } from "../engine/client";
import { told } from "../errors";
import type { Dropped, DroppedSmear } from "../files";
import { byName, count, printable } from "../report/text";
import { toldPassedOver } from "../rules/smear";
import {
  awake,
  fresh,
  labelOf,
  type Models,
  networkLabel,
  type Smear,
  sameModels,
  short,
  verdict,
} from "./smear";

export type EngineState =
  | { readonly kind: "loading"; readonly done: number; readonly total: number }
  | { readonly kind: "ready"; readonly engine: Engine; readonly models: Models }
  | { readonly kind: "failed"; readonly message: string };

export type State = {
  readonly engine: EngineState;
  readonly smears: readonly Smear[];
  /** The smear that is shown. */
  readonly open: string | null;
  /** Said to a screen reader; the number tells two equal sayings apart. */
  readonly said: { readonly text: string; readonly number: number };
  /** Shown until it is put away. */
  readonly notice: string;
  /** What the browser's store did not take; empty where all is kept. */
  readonly unkept: string;
};

/** Where smears are kept between visits. */
export type Keeper = {
  load(): Promise<readonly Smear[]>;
  /** Keep a smear with its images. */
  add(smear: Smear): Promise<void>;
  /** Keep what became known of a smear since. */
  update(smear: Smear): Promise<void>;
  remove(id: string): Promise<void>;
  clear(): Promise<void>;
};

type Open = (onProgress: (done: number, total: number) => void) => Promise<CellReader>;

/** Parts of a smear after which a screen reader is told how far it is. */
const QUARTERS = 4;

/** Images after which what was read is kept, so that a reload costs no more than these. */
const KEPT_EVERY = 64;

export class Session {
  state: State = {
    engine: { kind: "loading", done: 0, total: 0 },
    smears: [],
    open: null,
    said: { text: "", number: 0 },
    notice: "",
    unkept: "",
  };
  readonly #listeners = new Set<() => void>();
  readonly #openReader: Open;
  readonly #keeper: Keeper;
  #reader: Promise<CellReader> | null = null;
  #tries = 0;
  #abort: AbortController | null = null;
  #kept: Promise<void> = Promise.resolve();
  readonly #wanted = new Map<string, Label>();

  constructor(openReader: Open, keeper: Keeper) {
    this.#openReader = openReader;
    this.#keeper = keeper;
  }

  /** Be told of each change; answers with what ends it. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Fetch the models, and bring back what was kept. */
  async start(): Promise<void> {
    this.openModels();
    try {
      const kept = (await this.#keeper.load()).map(awake);
      this.#set({ smears: [...kept, ...this.state.smears] });
      if (this.state.open === null && kept[0]) this.#set({ open: kept[0].id });
    } catch (error) {
      this.#lost(error);
    }
  }

  /** Fetch the models, or try it again. */
  openModels(): void {
    this.#set({ engine: { kind: "loading", done: 0, total: 0 } });
    this.#tries += 1;
    const attempt = this.#tries;
    const reader = this.#openReader((done, total) => {
      if (this.#tries === attempt) this.#set({ engine: { kind: "loading", done, total } });
    });
    this.#reader = reader;
    reader.then(
      ({ engine, models }) => {
        if (this.#tries !== attempt) return;
        this.#set({ engine: { kind: "ready", engine, models } });
        this.say(`The models are ready: ${engine.label}.`);
        void this.#readOn();
      },
      (error: unknown) => {
        if (this.#tries !== attempt) return;
        this.#set({ engine: { kind: "failed", message: told(error) } });
        this.say("The models could not be loaded.");
      },
    );
  }

  /** Wait until the models are there, or are known not to come. */
  async settled(): Promise<void> {
    await this.#reader?.catch(() => {});
  }

  /** Take smears in, and read them as soon as the models are there. */
  add({ smears: dropped, passedOver }: Dropped): void {
    const smears: Smear[] = [];
    for (const one of dropped.filter(({ files }) => files.length > 0)) {
      smears.push(fresh(one, this.#freeName(one.name, smears)));
    }
    const empty = dropped.filter(({ files }) => files.length === 0);
    const notice = [...empty.map(noImages), ...toldPassedOver(passedOver).map(besides)].join(" ");
    const [first] = smears;
    this.#set({
      smears: [...this.state.smears, ...smears],
      open: first?.id ?? this.state.open,
      notice,
    });
    if (!first) {
      this.tell(notice || "There is no image in what was dropped.");
      return;
    }
    for (const smear of smears) void this.#keep(() => this.#keeper.add(smear));
    const images = smears.reduce((sum, smear) => sum + smear.files.length, 0);
    this.say(`${count(smears.length, "smear")} with ${count(images, "image")} taken in. ${notice}`);
    void this.#readOn();
  }

  show(id: string): void {
    this.#set({ open: id });
    const smear = this.find(id);
    if (smear) this.say(`${printable(smear.name)}: ${verdict(smear)}`);
  }

  /** Stop reading; what was read stays. */
  stop(): void {
    for (const smear of this.state.smears) {
      if (smear.stage === "waiting" || smear.stage === "reading") {
        this.#change(smear.id, { stage: "stopped" });
      }
    }
    this.#abort?.abort();
    this.say("Stopped.");
  }

  /** Go on with all that was stopped or failed, or with one smear. */
  resume(id?: string): void {
    for (const smear of this.state.smears) {
      const isHalted = smear.stage === "stopped" || smear.stage === "failed";
      if (isHalted && (id === undefined || smear.id === id)) {
        this.#change(smear.id, { stage: "waiting", failure: "" });
      }
    }
    if (this.state.engine.kind === "failed") this.openModels();
    void this.#readOn();
  }

  /** Read a smear from the start, as where the models have changed; corrections stay. */
  readAgain(id: string): void {
    this.#forgetReadings(id);
    this.#change(id, { stage: "waiting", trial: null });
    void this.#readOn();
  }

  /** Call a cell something else; a cell that the networks never scored is scored first. */
  async relabel(id: string, file: string, label: Label): Promise<void> {
    const smear = this.find(id);
    const reading = smear?.readings.find((one) => one.file === file);
    if (!smear || !reading) return;
    const key = `${id}/${file}`;
    this.#wanted.set(key, label);
    const isScored = reading.granularity !== null || smear.scores.has(file);
    if (label === NEUTROPHIL && !isScored) {
      this.#change(id, { pending: new Set([...smear.pending, file]) });
      this.say(`${short(file)} is being scored.`);
      try {
        await this.#score(id, file);
      } catch (error) {
        this.#set({
          notice: `${printable(file)} could not be scored and keeps its label: ${told(error)}`,
        });
        return;
      } finally {
        this.#scored(id, file);
      }
      // A later word on the same cell counts, not an earlier one that took longer.
      if (this.#wanted.get(key) !== label) return;
    }
    this.#apply(id, file, label);
  }

  /** Take the last correction back; answers with its cell. */
  undo(id: string): string | undefined {
    const smear = this.find(id);
    const step = smear?.steps.at(-1);
    if (!smear || !step) {
      this.say("There is nothing to undo.");
      return undefined;
    }
    const corrections = new Map(smear.corrections);
    if (step.before === undefined) corrections.delete(step.file);
    else corrections.set(step.file, step.before);
    this.#wanted.delete(`${id}/${step.file}`);
    this.#change(id, { corrections, steps: smear.steps.slice(0, -1) }, true);
    const label = labelOf(this.find(id) as Smear, step.file);
    this.#sayChange(id, `Undone: ${short(step.file)} is ${label} again.`);
    return step.file;
  }

  /** Take all corrections of a smear back. */
  undoAll(id: string): void {
    this.#change(id, { corrections: new Map(), steps: [] }, true);
    this.#sayChange(id, "All corrections are undone.");
  }

  /** Try a cut-off and threshold; null goes back to the fitted ones. */
  tryPoint(id: string, trial: Smear["trial"]): void {
    this.#change(id, { trial });
  }

  async remove(id: string): Promise<void> {
    const { smears, open } = this.state;
    const place = smears.findIndex((smear) => smear.id === id);
    const gone = smears[place];
    if (!gone) return;
    if (gone.stage === "reading") this.#abort?.abort();
    const left = smears.filter((smear) => smear.id !== id);
    const next = left[Math.min(place, left.length - 1)]?.id ?? null;
    this.#set({ smears: left, open: open === id ? next : open });
    this.say(`${printable(gone.name)} is removed.`);
    await this.#keep(() => this.#keeper.remove(id));
  }

  /** Forget all smears, here and in the browser's store. */
  async clear(): Promise<void> {
    this.#abort?.abort();
    this.#set({ smears: [], open: null, notice: "" });
    await this.#keep(() => this.#keeper.clear());
    if (this.state.unkept === "") this.say("Everything is cleared from this computer.");
  }

  say(text: string): void {
    this.#set({ said: { text, number: this.state.said.number + 1 } });
  }

  tell(notice: string): void {
    this.#set({ notice });
    if (notice) this.say(notice);
  }

  find(id: string | null): Smear | undefined {
    return this.state.smears.find((smear) => smear.id === id);
  }

  /** The signed map of what speaks for an output. */
  async activationMap(file: InputFile, role: Role, output: number) {
    return (await this.#ready()).activationMap(file, role, output);
  }

  #ready(): Promise<CellReader> {
    if (!this.#reader) throw new Error("the models were never asked for");
    return this.#reader;
  }

  async #readOn(): Promise<void> {
    if (this.#abort || this.state.engine.kind !== "ready") return;
    const next = this.state.smears.find((smear) => smear.stage === "waiting");
    if (!next) return;
    this.#abort = new AbortController();
    try {
      await this.#read(next.id, this.#abort.signal);
    } finally {
      this.#abort = null;
    }
    await this.#readOn();
  }

  async #read(id: string, signal: AbortSignal): Promise<void> {
    const reader = await this.#ready();
    const smear = this.find(id);
    if (!smear) return;
    // Half of one model's answers and half of another's would be no reading.
    if (smear.models && !sameModels(smear.models, reader.models)) this.#forgetReadings(id);
    const known = this.#change(id, {
      stage: "reading",
      models: reader.models,
      engine: reader.engine.label,
    });
    const done = new Set([...known.readings, ...known.unreadable].map(({ file }) => file));
    const left = smear.files.filter(({ file }) => !done.has(file));
    const total = smear.files.length;
    let quarter = Math.floor((QUARTERS * done.size) / Math.max(total, 1));
    const step = ({ readings, unreadable }: Smear) => {
      const read = readings.length + unreadable.length;
      if (read % KEPT_EVERY === 0) this.#change(id, {}, true);
      const passed = Math.floor((QUARTERS * read) / total);
      if (passed > quarter && passed < QUARTERS) {
        quarter = passed;
        this.say(`${short(smear.name)}: ${read} of ${total} images read.`);
      }
    };
    try {
      await reader.read(
        left,
        {
          reading: (reading) =>
            step(this.#change(id, (now) => ({ readings: [...now.readings, reading] }))),
          unreadable: (one) =>
            step(this.#change(id, (now) => ({ unreadable: [...now.unreadable, one] }))),
        },
        signal,
      );
      for (const [file, label] of this.find(id)?.corrections ?? []) {
        const reading = this.find(id)?.readings.find((one) => one.file === file);
        if (label === NEUTROPHIL && reading?.granularity === null) await this.#score(id, file);
      }
      const now = this.#change(
        id,
        ({ readings, unreadable }) => ({
          stage: "read",
          // Judged again at every correction, and sorted already then.
          readings: [...readings].sort((a, b) => byName(a.file, b.file)),
          unreadable: [...unreadable].sort((a, b) => byName(a.file, b.file)),
        }),
        true,
      );
      this.say(`${printable(now.name)}: ${verdict(now)}`);
    } catch (error) {
      // Removed, or stopped: what was read so far is kept.
      if (!this.find(id)) return;
      const failure = told(error);
      this.#change(id, signal.aborted ? {} : { stage: "failed", failure }, true);
      if (!signal.aborted) this.say(`${printable(smear.name)} could not be read.`);
    }
  }

  async #score(id: string, file: string): Promise<void> {
    const input = this.find(id)?.files.find((one) => one.file === file);
    if (!input) throw new Error("its image is gone");
    const score = await (await this.#ready()).score(input);
    this.#change(id, (now) => ({ scores: new Map([...now.scores, [file, score]]) }));
  }

  #scored(id: string, file: string): void {
    if (!this.find(id)) return;
    this.#change(id, (now) => ({ pending: new Set([...now.pending].filter((it) => it !== file)) }));
  }

  #apply(id: string, file: string, label: Label): void {
    const smear = this.find(id);
    if (!smear) return;
    if (labelOf(smear, file) === label) {
      this.say(`${short(file)} is ${label} already.`);
      return;
    }
    const corrections = new Map(smear.corrections);
    const step = { file, before: corrections.get(file) };
    // The order of corrections is the order in which they can be undone.
    corrections.delete(file);
    if (networkLabel(smear, file) !== label) corrections.set(file, label);
    this.#change(id, { corrections, steps: [...smear.steps, step] }, true);
    this.#sayChange(id, `${short(file)} is ${label} now.`);
  }

  /** Say what was done, and what it did to the decision. */
  #sayChange(id: string, text: string): void {
    const smear = this.find(id);
    this.say(smear ? `${text} ${verdict(smear)}` : text);
  }

  /** Put another value in a smear's place, and answer with it. */
  #change(
    id: string,
    change: Partial<Smear> | ((smear: Smear) => Partial<Smear>),
    isKept = false,
  ): Smear {
    const before = this.find(id);
    if (!before) throw new DOMException("the smear was removed", "AbortError");
    const after = { ...before, ...(typeof change === "function" ? change(before) : change) };
    this.#set({ smears: this.state.smears.map((smear) => (smear === before ? after : smear)) });
    if (isKept) void this.#keep(() => this.#keeper.update(after));
    return after;
  }

  /** Forget what other models read, here and in the store; corrections stay. */
  #forgetReadings(id: string): void {
    const nothing = { readings: [], unreadable: [], scores: new Map(), models: null };
    const smear = this.#change(id, nothing);
    void this.#keep(async () => {
      await this.#keeper.remove(id);
      await this.#keeper.add(smear);
    });
  }

  /** One write after the other, so that an older one never overtakes a newer. */
  #keep(write: () => Promise<void>): Promise<void> {
    this.#kept = this.#kept.then(write).catch((error: unknown) => this.#lost(error));
    return this.#kept;
  }

  #lost(error: unknown): void {
    this.#set({ unkept: told(error) });
  }

  #freeName(name: string, beside: readonly Smear[]): string {
    const taken = new Set([...this.state.smears, ...beside].map((smear) => smear.name));
    if (!taken.has(name)) return name;
    let number = 2;
    while (taken.has(`${name} (${number})`)) number += 1;
    return `${name} (${number})`;
  }

  #set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.#listeners) listener();
  }
}

function noImages({ name, passedOver, unreadable }: DroppedSmear): string {
  const told = [
    ...toldPassedOver(passedOver),
    ...unreadable.map(({ file, reason }) => `${file}: ${reason}`),
  ];
  return printable(
    `There is no image in ${name}${told.length > 0 ? ` (${told.join("; ")})` : ""}.`,
  );
}

function besides(told: string): string {
  return printable(`Beside the smears, ${told}.`);
}
