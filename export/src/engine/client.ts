/**
 * The page's side of the networks: opens them in a worker, hands it images, passes on what they
 * say. The page itself never decodes or computes, so it does not freeze.
 */

import { CellnetError } from "../errors";
import type { Answers, Kind, Message, Opened, Questions } from "./protocol";
import type {
  ActivationMap,
  Engine,
  InputFile,
  ModelInfo,
  Reading,
  Role,
  Unreadable,
} from "./types";

export type {
  ActivationMap,
  Engine,
  InputFile,
  ModelInfo,
  Reading,
  Role,
  Unreadable,
} from "./types";

/** Batches under way: while one is computed, the next is decoded. */
const UNDER_WAY = 2;

type Waiting = {
  resolve(value: never): void;
  reject(error: Error): void;
  progress?: (done: number, total: number) => void;
};

/** Both networks on images; one for the page, since each holds the models' weights. */
export class CellReader {
  /** What computes, and on how many threads. */
  readonly engine: Engine;
  readonly models: Readonly<Record<Role, ModelInfo>>;
  readonly #line: Line;
  readonly #batch: number;

  private constructor(line: Line, opened: Opened) {
    this.#line = line;
    this.engine = opened.engine;
    this.models = opened.models;
    this.#batch = opened.batch;
  }

  /**
   * Fetch and open the models.
   *
   * @param base the folder that holds `models/`, such as `document.baseURI`.
   * @param onProgress told the bytes that have come and that will come.
   * @param only the engine to use whatever it costs; null for the best that answers rightly.
   * @throws CellnetError where a model is missing, damaged or of another kind, or where the browser
   *   cannot run them.
   */
  static async open(
    base: URL,
    onProgress: (done: number, total: number) => void = () => {},
    only: Engine["name"] | null = null,
  ): Promise<CellReader> {
    const line = new Line();
    try {
      const opened = await line.ask("open", { base: base.href, only }, onProgress);
      return new CellReader(line, opened);
    } catch (error) {
      line.close();
      throw error;
    }
  }

  /**
   * Read images in the order given; each is told as soon as it is known, whatever became of it.
   *
   * @throws DOMException `AbortError` once the signal says so; images told so far stand.
   * @throws CellnetError where the networks cannot go on.
   */
  async read(
    files: readonly InputFile[],
    on: { reading(reading: Reading): void; unreadable(unreadable: Unreadable): void },
    signal: AbortSignal,
  ): Promise<void> {
    let next = 0;
    const readOn = async (): Promise<void> => {
      while (next < files.length) {
        const batch = files.slice(next, next + this.#batch);
        next += batch.length;
        const outcomes = await this.#line.ask("read", { files: batch });
        // After a cancel, what the worker still had under way is nobody's.
        if (signal.aborted) return;
        for (const { reading, unreadable } of outcomes) {
          if (reading) on.reading(reading);
          else on.unreadable(unreadable);
        }
      }
    };
    signal.throwIfAborted();
    const cancelled = new Promise<never>((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
    });
    await Promise.race([cancelled, Promise.all(Array.from({ length: UNDER_WAY }, readOn))]);
  }

  /** Score a cell that a person calls a neutrophil: its granularity in [0, 1]. */
  score(file: InputFile): Promise<number> {
    return this.#line.ask("score", { file });
  }

  /**
   * Ask which parts of an image speak for an output: its signed Grad-CAM map, few pixels a side.
   *
   * @param output for Model 1 the place of the class in `CLASSES`; for DysplasiaNet 0.
   */
  activationMap(file: InputFile, role: Role, output: number): Promise<ActivationMap> {
    return this.#line.ask("map", { file, role, output });
  }

  /** End the worker and free its memory; what is under way fails. */
  close(): void {
    this.#line.close();
  }
}

/** A worker, and who waits for which of its answers. */
class Line {
  readonly #worker = new Worker(new URL("./worker.ts", import.meta.url), {
    type: "module",
    name: "cellnet",
  });
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;
  #end: Error | null = null;

  constructor() {
    this.#worker.onmessage = (event: MessageEvent<Message>) => this.#take(event.data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      const why = event.message || "its program could not be loaded";
      this.#fail(
        new CellnetError(`the program that reads cells has stopped: ${why}; reload the page`),
      );
    };
  }

  ask<K extends Kind>(
    kind: K,
    asked: Questions[K],
    progress?: (done: number, total: number) => void,
  ): Promise<Answers[K]> {
    if (this.#end) return Promise.reject(this.#end);
    this.#last += 1;
    const id = this.#last;
    return new Promise<Answers[K]>((resolve, reject) => {
      const waiting: Waiting = { resolve, reject };
      if (progress) waiting.progress = progress;
      this.#waiting.set(id, waiting);
      this.#worker.postMessage({ id, kind, asked });
    });
  }

  close(): void {
    this.#worker.terminate();
    this.#fail(new CellnetError("the program that reads cells was closed"));
  }

  #take(message: Message): void {
    const waiting = this.#waiting.get(message.id);
    if (!waiting) return;
    if (message.kind === "progress") {
      waiting.progress?.(message.done, message.total);
      return;
    }
    this.#waiting.delete(message.id);
    if (message.kind === "answer") waiting.resolve(message.value as never);
    else
      waiting.reject(
        message.isKnown ? new CellnetError(message.message) : new Error(message.message),
      );
  }

  #fail(error: Error): void {
    this.#end ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#end);
    this.#waiting.clear();
  }
}
