/** The engine without the app's page, for tests and measurements; never part of what is shipped. */

import { CellReader } from "../../src/engine/client";
import { decodeImage } from "../../src/images/decode";
import { reportJson } from "../../src/report/json";
import { judge } from "../../src/rules/smear";
import type { Order, Timed } from "./bench.worker";

/** Run the networks in a thread of their own, as the app does, and measure them there. */
function bench(order: Order): Promise<Timed> {
  const worker = new Worker(new URL("./bench.worker.ts", import.meta.url), { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<Timed | { failure: string }>) => {
      worker.terminate();
      if ("failure" in data) reject(new Error(data.failure));
      else resolve(data);
    };
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(order);
  });
}

Object.assign(globalThis, { cellnet: { CellReader, bench, decodeImage, judge, reportJson } });
