/**
 * What the browser keeps between visits, in IndexedDB on this computer: smears with their images,
 * what was read, what a person corrected. It stays until the person clears it.
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
  #last = 0;

  /** Bring back all smears, in the order in which they were added. */
  load(): Promise<Smear[]> {
    return this.#told("what was kept cannot be read", async (database) => {
      const records = await database.getAll("smears");
      records.sort((a, b) => a.order - b.order);
      return Promise.all(
        records.map(async ({ id, rest }) => {
          const images = await database.getAll("images", within(id));
          const kept = await database.getAll("readings", within(id));
          const readings = kept.map(({ reading }) => reading);
          for (const reading of readings) this.#written.add(reading);
          const files = images.map(({ file, blob }) => ({ file, blob }));
          return { ...(rest as Smear), id, files, readings };
        }),
      );
    });
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
    this.#mark(smear);
  }

  /** Keep what became known of a smear since; nothing where it is not kept (any more). */
  async update(smear: Smear): Promise<void> {
    let isKept = false;
    await this.#write("the change cannot be kept", (stores) => [
      stores("smears")
        .get(smear.id)
        .then((before) => {
          if (!before) return undefined;
          isKept = true;
          return Promise.all([
            stores("smears").put({ ...before, rest: rest(smear) }),
            ...this.#fresh(smear).map((entry) => stores("readings").put(entry)),
          ]);
        }),
    ]);
    if (isKept) this.#mark(smear);
  }

  /** Forget one smear. */
  remove(id: string): Promise<void> {
    return this.#write("the smear cannot be removed", (stores) => [
      stores("smears").delete(id),
      stores("images").delete(within(id)),
      stores("readings").delete(within(id)),
    ]);
  }

  /** Forget everything. */
  clear(): Promise<void> {
    return this.#write("what was kept cannot be cleared", (stores) =>
      STORES.map((name) => stores(name).clear()),
    );
  }

  /** Readings that are not in the store yet. */
  #fresh(smear: Smear): Schema["readings"]["value"][] {
    return smear.readings
      .filter((reading) => !this.#written.has(reading))
      .map((reading) => ({ id: smear.id, file: reading.file, reading }));
  }

  #mark(smear: Smear): void {
    for (const reading of smear.readings) this.#written.add(reading);
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
