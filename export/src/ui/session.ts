/**
 * What the page knows and does, without a page: the models, the smears, who is read next, what a
 * person corrects. All that is known of a smear is one value that is never changed, only replaced,
 * so that a view need not ask what is new.
 */

import type { Label } from "../cells";
import { NEUTROPHIL } from "../cells";
import type { CellReader, Engine, InputFile, Role } from "../engine/client";
import { told } from "../errors";
import type { Choice, Dropped, DroppedSmear } from "../files";
import { byName, count, printable } from "../report/text";
import type { Kept, News } from "../store";
import { carried } from "./carried";
import { takenIn } from "./notices";
import {
  awake,
  fresh,
  isUnderWay,
  labelOf,
  type Models,
  networkLabel,
  type Smear,
  sameModels,
  short,
  takenOver,
  verdict,
  whatIsRead,
} from "./smear";
import { allUndone, corrected, type Edit, undone } from "./steps";

export type EngineState =
  | { readonly kind: "loading"; readonly done: number; readonly total: number }
  | { readonly kind: "ready"; readonly engine: Engine; readonly models: Models }
  | { readonly kind: "failed"; readonly message: string };

/** Smears of one folder that could be read in another way. */
export type Offer = { readonly choice: Choice; readonly ids: readonly string[] };

export type State = {
  readonly engine: EngineState;
  readonly smears: readonly Smear[];
  /** The smear that is shown. */
  readonly open: string | null;
  /** Said to a screen reader; the number tells two equal sayings apart. */
  readonly said: { readonly text: string; readonly number: number };
  /** Shown until it is put away. */
  readonly notice: string;
  /** Shown until they are taken, put away, or have lost a smear. */
  readonly offers: readonly Offer[];
  /** What the browser's store did not take; empty where all is kept. */
  readonly unkept: string;
};

/** Where smears are kept between visits. */
export type Keeper = {
  load(): Promise<readonly Smear[]>;
  /** Keep a smear with its images. */
  add(smear: Smear): Promise<void>;
  /** Change what is kept of a smear, whoever changed it since; anew: without its readings. */
  update(
    id: string,
    change: (kept: Kept<Smear>) => Partial<Smear>,
    isAnew?: boolean,
  ): Promise<void>;
  remove(id: string): Promise<void>;
  clear(): Promise<void>;
  /** One smear as it is kept by now; its images where they are not given. */
  find(id: string, files?: readonly InputFile[]): Promise<Smear | undefined>;
  ids(): Promise<readonly string[]>;
  /** Be told what other tabs of the page changed. */
  listen(listener: (news: News) => void): void;
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
    offers: [],
    unkept: "",
  };
  readonly #listeners = new Set<() => void>();
  readonly #openReader: Open;
  readonly #keeper: Keeper;
  #reader: Promise<CellReader> | null = null;
  #tries = 0;
  #abort: AbortController | null = null;
  #kept: Promise<void> = Promise.resolve();
  /** Writes that are not done yet. */
  #writes = 0;
  readonly #wanted = new Map<string, Label>();

  constructor(openReader: Open, keeper: Keeper) {
    this.#openReader = openReader;
    this.#keeper = keeper;
    keeper.listen((news) => void this.#inTurn(() => this.#takeOver(news)));
  }

  /** Be told of each change; answers with what ends it. */
  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Fetch the models, and bring back what was kept. */
  async start(): Promise<void> {
    this.openModels();
    await this.#inTurn(async () => {
      const kept = (await this.#keeper.load()).map(awake);
      this.#set({ smears: [...kept, ...this.state.smears] });
      if (this.state.open === null && kept[0]) this.#set({ open: kept[0].id });
    });
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
  add(dropped: Dropped): void {
    const { taken, offers } = this.#freshOf(dropped, this.state.smears);
    const smears = [...taken.values()];
    const notice = takenIn(dropped, taken);
    const [first] = smears;
    this.#set({
      smears: [...this.state.smears, ...smears],
      open: first?.id ?? this.state.open,
      offers: [...this.state.offers, ...offers],
      notice,
    });
    if (!first) {
      this.tell(notice || "There is no image in what was dropped.");
      return;
    }
    for (const smear of smears) void this.#keep(() => this.#keeper.add(smear));
    const images = smears.reduce((sum, smear) => sum + smear.files.length, 0);
    const told = [notice, ...offers.map(({ choice }) => choice.told)].filter(Boolean).join(" ");
    this.say(`${count(smears.length, "smear")} with ${count(images, "image")} taken in. ${told}`);
    void this.#readOn();
  }

  /** Read a folder in the other way; what is known of its images goes with them. */
  readOtherwise(offer: Offer): void {
    const old = offer.ids.flatMap((id) => this.find(id) ?? []);
    const others = this.state.smears.filter((smear) => !old.includes(smear));
    const dropped = offer.choice.other();
    const { taken, offers } = this.#freshOf(dropped, others);
    const smears = [...taken.values()].map((smear) => carried(smear, old));
    const place = this.state.smears.findIndex((smear) => old.includes(smear));
    this.#without(offer.ids);
    this.#set({
      smears: [...others.slice(0, place), ...smears, ...others.slice(place)],
      open: smears[0]?.id ?? this.state.open,
      offers: [...this.state.offers, ...offers],
      notice: takenIn(dropped, taken),
    });
    this.say([...offers.map(({ choice }) => choice.told), this.state.notice].join(" "));
    for (const smear of smears) void this.#keep(() => this.#keeper.add(smear));
    for (const { id } of old) void this.#keep(() => this.#keeper.remove(id));
    void this.#readOn();
  }

  /** Leave a folder as it was read. */
  putAway(offer: Offer): void {
    this.#set({ offers: this.state.offers.filter((one) => one !== offer) });
  }

  show(id: string): void {
    this.#set({ open: id });
    const smear = this.find(id);
    if (smear) this.say(`${printable(smear.name)}: ${verdict(smear)}`);
  }

  /** Stop reading; what was read stays. */
  stop(): void {
    for (const smear of this.state.smears) {
      if (isUnderWay(smear)) this.#change(smear.id, { stage: "stopped" });
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

  /** Take the last step back; answers with its cell, or one of its cells. */
  undo(id: string): string | undefined {
    const smear = this.find(id);
    const step = smear?.steps.at(-1);
    if (!smear || !step) {
      this.say("There is nothing to undo.");
      return undefined;
    }
    if ("all" in step) {
      for (const file of step.all.keys()) this.#wanted.delete(`${id}/${file}`);
      this.#edit(id, undone);
      this.#sayChange(id, `Undone: ${count(step.all.size, "correction")} again.`);
      return [...step.all.keys()].at(-1);
    }
    this.#wanted.delete(`${id}/${step.file}`);
    this.#edit(id, undone);
    const label = labelOf(this.find(id) as Smear, step.file);
    this.#sayChange(id, `Undone: ${short(step.file)} is ${label} again.`);
    return step.file;
  }

  /** Take all corrections of a smear back, which can be undone. */
  undoAll(id: string): void {
    this.#edit(id, allUndone);
    this.#sayChange(id, "All corrections are undone.");
  }

  /** Try a cut-off and threshold; null goes back to the fitted ones. */
  tryPoint(id: string, trial: Smear["trial"]): void {
    this.#change(id, { trial });
  }

  async remove(id: string): Promise<void> {
    const gone = this.find(id);
    if (!gone) return;
    this.#without([id]);
    this.say(`${printable(gone.name)} is removed.`);
    await this.#keep(() => this.#keeper.remove(id));
  }

  /** Forget all smears, here and in the browser's store. */
  async clear(): Promise<void> {
    this.#without(this.state.smears.map(({ id }) => id));
    this.#set({ notice: "" });
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
      if (read % KEPT_EVERY === 0) this.#keepRead(id);
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
      const now = this.#change(id, ({ readings, unreadable }) => ({
        stage: "read",
        readAt: Date.now(),
        // Judged again at every correction, and sorted already then.
        readings: [...readings].sort((a, b) => byName(a.file, b.file)),
        unreadable: [...unreadable].sort((a, b) => byName(a.file, b.file)),
      }));
      this.#keepRead(id);
      this.say(`${printable(now.name)}: ${verdict(now)}`);
    } catch (error) {
      // Removed, or stopped: what was read so far is kept.
      if (!this.find(id)) return;
      const failure = told(error);
      if (!signal.aborted) this.#change(id, { stage: "failed", failure });
      this.#keepRead(id);
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
    const named = networkLabel(smear, file) === label ? null : label;
    this.#edit(id, corrected(file, named, smear.scores.get(file)));
    this.#sayChange(id, `${short(file)} is ${label} now.`);
  }

  /** Say what was done, and what it did to the decision. */
  #sayChange(id: string, text: string): void {
    const smear = this.find(id);
    this.say(smear ? `${text} ${verdict(smear)}` : text);
  }

  /** Put another value in a smear's place, here alone, and answer with it. */
  #change(id: string, change: Partial<Smear> | ((smear: Smear) => Partial<Smear>)): Smear {
    const before = this.find(id);
    if (!before) throw new DOMException("the smear was removed", "AbortError");
    const after = { ...before, ...(typeof change === "function" ? change(before) : change) };
    this.#set({ smears: this.state.smears.map((smear) => (smear === before ? after : smear)) });
    return after;
  }

  /** Change what a person says of a smear, here and in the store. */
  #edit(id: string, edit: Edit): void {
    if (!this.find(id)) return;
    this.#change(id, edit);
    void this.#keep(() => this.#keeper.update(id, edit));
  }

  /** Keep what was read of a smear so far. */
  #keepRead(id: string): void {
    const change = whatIsRead(this.find(id) as Smear);
    void this.#keep(() => this.#keeper.update(id, change));
  }

  /** Make smears of what was dropped, and offers of what could be read otherwise. */
  #freshOf(dropped: Dropped, beside: readonly Smear[]) {
    const taken = new Map<DroppedSmear, Smear>();
    for (const one of dropped.smears.filter(({ files }) => files.length > 0)) {
      taken.set(one, fresh(one, freeName(one.name, [...beside, ...taken.values()])));
    }
    const offers = dropped.choices.map((choice): Offer => ({
      choice,
      ids: choice.smears.flatMap((one) => taken.get(one)?.id ?? []),
    }));
    return { taken, offers };
  }

  /** Take smears off the page; what is being read of them ends. */
  #without(ids: readonly string[]): void {
    const { smears, open, offers } = this.state;
    const isGone = ({ id }: { id: string | null }) => id !== null && ids.includes(id);
    if (smears.some((smear) => isGone(smear) && smear.stage === "reading")) this.#abort?.abort();
    const left = smears.filter((smear) => !isGone(smear));
    const place = smears.findIndex(({ id }) => id === open);
    const next = left[Math.min(place, left.length - 1)]?.id ?? null;
    this.#set({
      smears: left,
      open: isGone({ id: open }) ? next : open,
      offers: offers.filter((offer) => !offer.ids.some((id) => ids.includes(id))),
    });
  }

  /** Take over what another tab changed, once all is written that was changed here. */
  async #takeOver(news: News): Promise<void> {
    const ids = news.kind === "cleared" ? await this.#keeper.ids() : [];
    const mine = news.kind === "changed" ? this.find(news.id) : undefined;
    // What could not be kept here would be lost.
    const isWanted = news.kind === "changed" && this.state.unkept === "";
    const kept = isWanted ? await this.#keeper.find(news.id, mine?.files) : undefined;
    if (this.#writes > 0) {
      void this.#inTurn(() => this.#takeOver(news));
      return;
    }
    if (news.kind !== "changed") {
      this.#lose(news, ids);
    } else if (kept && this.find(kept.id)) {
      this.#change(kept.id, (now) => takenOver(now, kept));
    } else if (kept) {
      this.#set({
        smears: [...this.state.smears, awake(kept)],
        open: this.state.open ?? kept.id,
      });
    }
  }

  /** Drop what another tab removed, and say so. */
  #lose(news: Exclude<News, { kind: "changed" }>, kept: readonly string[]): void {
    const isGone = ({ id }: Smear) =>
      news.kind === "removed" ? id === news.id : !kept.includes(id);
    const gone = this.state.smears.filter(isGone);
    if (gone.length === 0) return;
    this.#without(gone.map(({ id }) => id));
    const names = gone.map(({ name }) => printable(name));
    this.tell(
      news.kind === "removed"
        ? `${names.join()} was removed in another tab.`
        : "Everything was cleared in another tab.",
    );
  }

  /** Forget what other models read, here and in the store; corrections stay. */
  #forgetReadings(id: string): void {
    const nothing = { readings: [], unreadable: [], scores: new Map(), models: null, readAt: null };
    this.#change(id, nothing);
    void this.#keep(() =>
      this.#keeper.update(id, () => ({ ...nothing, stage: "stopped", failure: "" }), true),
    );
  }

  /** Write to the store. */
  #keep(write: () => Promise<void>): Promise<void> {
    this.#writes += 1;
    return this.#inTurn(() =>
      write().finally(() => {
        this.#writes -= 1;
      }),
    );
  }

  /** One after the other, so that an older write never overtakes a newer. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#kept = this.#kept.then(work).catch((error: unknown) => this.#lost(error));
    return this.#kept;
  }

  /** Tell the first reason: what follows may be its consequence. */
  #lost(error: unknown): void {
    this.#set({ unkept: this.state.unkept || told(error) });
  }

  #set(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    for (const listener of this.#listeners) listener();
  }
}

function freeName(name: string, beside: readonly Smear[]): string {
  const taken = new Set(beside.map((smear) => smear.name));
  if (!taken.has(name)) return name;
  let number = 2;
  while (taken.has(`${name} (${number})`)) number += 1;
  return `${name} (${number})`;
}
