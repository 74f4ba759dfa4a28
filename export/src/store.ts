/**
 * What the browser keeps between visits, in IndexedDB on this computer: smears with their images,
 * what was read, what a person corrected. It stays until the person clears it. All tabs of the page
 * share it, and tell each other what they changed.
 */

import { type DBSchema, type IDBPDatabase, type IDBPObjectStore, openDB } from "idb";
import type { InputFile, Reading } from "./engine/types";
import { CellnetError, told } from "./errors";

/** As much of a smear as the store must know; whatever else there is of it is kept beside. */
export type Keepable = {
  readonly id: string;
  readonly files: readonly InputFile[];
  readonly readings: readonly Reading[];
};

/** What another tab did: `changed` also where the smear is new. */
export type News =
  { readonly kind: "changed" | "removed"; readonly id: string } | { readonly kind: "cleared" };

/** What a change of a smear starts from: all of it but images and readings. */
export type Kept<Smear extends Keepable> = Omit<Smear, "files" | "readings">;

type Rest = { readonly id: string; readonly order: number; readonly rest: unknown };

interface Schema extends DBSchema {
  smears: { key: string; value: Rest };
  images: { key: [string, string]; value: { id: string; file: string; blob: Blob } };
  readings: { key: [string, string]; value: { id: string; file: string; reading: Reading } };
}

const NAME = "cellnet";
const VERSION = 1;
/** Images that are put at a time. */
const PORTION = 64;
const STORES = ["smears", "images", "readings"] as const;

type Name = (typeof STORES)[number];
type Stores = <N extends Name>(name: N) => IDBPObjectStore<Schema, typeof STORES, N, "readwrite">;

/** The smears that are kept; values are never changed, only replaced. */
export class Store<Smear extends Keepable> {
  #database: Promise<IDBPDatabase<Schema>> | null = null;
  /** Readings that are in the store already. */
  readonly #written = new WeakSet<Reading>();
  readonly #tabs = new BroadcastChannel(NAME);
  #last = 0;

  /** Be told what other tabs did, once it is written. */
  listen(listener: (news: News) => void): void {
    this.#tabs.addEventListener("message", ({ data }) => listener(data as News));
  }

  /** Bring back all smears, in the order in which they were added. */
  load(): Promise<Smear[]> {
    return this.#told("what was kept cannot be read", async (database) => {
      const records = await database.getAll("smears");
      records.sort((a, b) => a.order - b.order);
      return Promise.all(records.map((record) => this.#whole(database, record)));
    });
  }

  /**
   * Bring back one smear as it is by now; nothing where it is not kept.
   *
   * @param files its images where they are at hand: they never change.
   */
  find(id: string, files?: readonly InputFile[]): Promise<Smear | undefined> {
    return this.#told("what was kept cannot be read", async (database) => {
      const record = await database.get("smears", id);
      return record && this.#whole(database, record, files);
    });
  }

  /** Name the smears that are kept. */
  ids(): Promise<string[]> {
    return this.#told("what was kept cannot be read", (database) => database.getAllKeys("smears"));
  }

  /** Keep a smear with its images; all of it or nothing. */
  async add(smear: Smear): Promise<void> {
    this.#last = Math.max(this.#last + 1, Date.now());
    const order = this.#last;
    await this.#write("the smear cannot be kept", (stores) => [
      stores("smears").put({ id: smear.id, order, rest: rest(smear) }),
      inPortions(smear.files, ({ file, blob }) =>
        stores("images").put({ id: smear.id, file, blob }),
      ),
      ...this.#fresh(smear).map((entry) => stores("readings").put(entry)),
    ]);
    this.#mark(smear.readings);
    this.#tell({ kind: "changed", id: smear.id });
  }

  /**
   * Change what is kept of a smear. The change is made to what is there by then: another tab may
   * have changed another part of it.
   *
   * @param change gives what is new; readings that are not there yet are put beside the others.
   * @param isAnew whether all readings go first, at once with the change.
   * @throws CellnetError also where the smear is not kept, or not any more.
   */
  async update(
    id: string,
    change: (kept: Kept<Smear>) => Partial<Smear>,
    isAnew = false,
  ): Promise<void> {
    let readings: readonly Reading[] = [];
    await this.#write("the change cannot be kept", (stores) => [
      (async () => {
        const before = await stores("smears").get(id);
        if (!before) throw new CellnetError("the smear was removed from this computer");
        const kept = before.rest as Kept<Smear>;
        const after = { ...kept, files: [], readings: [], ...change(kept) };
        readings = after.readings;
        await stores("smears").put({ ...before, rest: rest(after) });
        if (isAnew) await stores("readings").delete(within(id));
        const fresh = this.#fresh({ id, readings }, isAnew);
        await Promise.all(fresh.map((entry) => stores("readings").put(entry)));
      })(),
    ]);
    this.#mark(readings);
    this.#tell({ kind: "changed", id });
  }

  /** Forget one smear. */
  async remove(id: string): Promise<void> {
    await this.#write("the smear cannot be removed", (stores) => [
      stores("smears").delete(id),
      stores("images").delete(within(id)),
      stores("readings").delete(within(id)),
    ]);
    this.#tell({ kind: "removed", id });
  }

  /** Forget everything. */
  async clear(): Promise<void> {
    await this.#write("what was kept cannot be cleared", (stores) =>
      STORES.map((name) => stores(name).clear()),
    );
    this.#tell({ kind: "cleared" });
  }

  /** Tell the other tabs; only what is written already. */
  #tell(news: News): void {
    this.#tabs.postMessage(news);
  }

  async #whole(
    database: IDBPDatabase<Schema>,
    { id, rest }: Rest,
    known?: readonly InputFile[],
  ): Promise<Smear> {
    const images = known ?? (await database.getAll("images", within(id)));
    const kept = await database.getAll("readings", within(id));
    const readings = kept.map(({ reading }) => reading);
    this.#mark(readings);
    const files = known ?? images.map(({ file, blob }) => ({ file, blob }));
    return { ...(rest as Smear), id, files, readings };
  }

  /** Readings that are not in the store yet. */
  #fresh(
    { id, readings }: Pick<Keepable, "id" | "readings">,
    isAnew = false,
  ): Schema["readings"]["value"][] {
    return readings
      .filter((reading) => isAnew || !this.#written.has(reading))
      .map((reading) => ({ id, file: reading.file, reading }));
  }

  #mark(readings: readonly Reading[]): void {
    for (const reading of readings) this.#written.add(reading);
  }

  /** Change the stores: everything that the work asks for, or nothing. */
  #write(what: string, work: (stores: Stores) => Promise<unknown>[]): Promise<void> {
    return this.#told(what, async (database) => {
      const transaction = database.transaction(STORES, "readwrite");
      try {
        await Promise.all([...work((name) => transaction.objectStore(name)), transaction.done]);
      } catch (error) {
        // The first request to fail need not be the one that is to blame.
        const reason = transaction.error ?? error;
        if (!transaction.error) transaction.abort();
        await transaction.done.catch(() => {});
        throw reason;
      }
    });
  }

  async #told<T>(what: string, work: (database: IDBPDatabase<Schema>) => Promise<T>): Promise<T> {
    try {
      this.#database ??= this.#open();
      return await work(await this.#database);
    } catch (error) {
      const name = error instanceof DOMException ? error.name : "";
      if (name === "QuotaExceededError") {
        throw new CellnetError(
          `${what}: the browser gives this page no more room on the disk. What is on the page ` +
            "stays until it is closed; clear smears that are done with, and add this one again",
        );
      }
      throw new CellnetError(`${what}: ${told(error)}`);
    }
  }

  #open(): Promise<IDBPDatabase<Schema>> {
    const forget = () => {
      this.#database = null;
    };
    const opening = Promise.resolve().then(() =>
      openDB<Schema>(NAME, VERSION, {
        upgrade(database) {
          database.createObjectStore("smears", { keyPath: "id" });
          database.createObjectStore("images", { keyPath: ["id", "file"] });
          database.createObjectStore("readings", { keyPath: ["id", "file"] });
        },
        // A newer version of the app in another tab wants to change the store.
        blocking(_current, _blocked, event) {
          (event.target as IDBDatabase).close();
          forget();
        },
        terminated: forget,
      }),
    );
    return opening.catch((error: unknown) => {
      forget();
      throw new CellnetError(
        `the browser keeps nothing for this page (${told(error)}); in a private window that is ` +
          "intended, and what is read is gone with the window",
      );
    });
  }
}

/** Put one portion after the other: thousands of images at once would hold the page up. */
async function inPortions<T>(
  items: readonly T[],
  put: (item: T) => Promise<unknown>,
): Promise<void> {
  for (let at = 0; at < items.length; at += PORTION) {
    await Promise.all(items.slice(at, at + PORTION).map(put));
  }
}

/** All keys that begin with a smear's. */
function within(id: string): IDBKeyRange {
  return IDBKeyRange.bound([id], [id, []]);
}

function rest(smear: Keepable): unknown {
  const { files: _files, readings: _readings, ...others } = smear;
  return others;
}
