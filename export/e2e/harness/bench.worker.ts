/** Times one engine, decoding left out. */

import { fetchBundles } from "../../src/engine/bundles";
import { openBest } from "../../src/engine/choose";
import { type Engine, ROLES, type Role } from "../../src/engine/types";
import { decodeImage } from "../../src/images/decode";

export type Order = {
  readonly base: string;
  readonly only: Engine["name"] | null;
  readonly files: readonly Blob[];
  readonly rounds: number;
};

/** Milliseconds an image: the median of single ones, and in batches of eight. */
export type Times = { readonly single: number; readonly batch: number };

export type Timed = {
  readonly engine: Engine;
  /** From the first file asked for to the first answer that was checked. */
  readonly open: number;
  readonly times: Readonly<Record<Role, Times>>;
  /** Of each image, whether it was answered alone or among others: to be compared bit by bit. */
  readonly alone: Readonly<Record<Role, number[][]>>;
  readonly together: Readonly<Record<Role, number[][]>>;
  /** What the engine held once everything was warm, and at the end. */
  readonly held: readonly [Held, Held];
};

export type Held = { readonly what: string; readonly count: number };

const BATCH = 8;

self.onmessage = async ({ data }: MessageEvent<Order>) => {
  try {
    self.postMessage(await run(data));
  } catch (error) {
    self.postMessage({ failure: error instanceof Error ? error.message : String(error) });
  }
};

async function run({ base, only, files, rounds }: Order): Promise<Timed> {
  const start = performance.now();
  const bundles = await fetchBundles(new URL(base));
  const networks = await openBest(bundles, only, () => {});
  const open = performance.now() - start;
  const images = await Promise.all(files.map((file) => decodeImage(file)));
  const times = {} as Record<Role, Times>;
  const alone = {} as Record<Role, number[][]>;
  const together = {} as Record<Role, number[][]>;
  for (const role of ROLES) await networks.answer(role, images);
  const warm = await held(networks.engine);
  for (const role of ROLES) {
    together[role] = await networks.answer(role, images);
    alone[role] = [];
    const single: number[] = [];
    const batch: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      for (const [nth, image] of images.entries()) {
        const began = performance.now();
        const [answer] = await networks.answer(role, [image]);
        single.push(performance.now() - began);
        alone[role][nth] = answer as number[];
      }
      for (let from = 0; from + BATCH <= images.length; from += BATCH) {
        const began = performance.now();
        await networks.answer(role, images.slice(from, from + BATCH));
        batch.push((performance.now() - began) / BATCH);
      }
    }
    times[role] = { single: median(single), batch: median(batch) };
  }
  const { engine } = networks;
  return { engine, open, times, alone, together, held: [warm, await held(engine)] };
}

async function held({ name }: Engine): Promise<Held> {
  if (name === "litert") {
    const { liteRtWasm } = (await import("@litertjs/core")).getGlobalLiteRt();
    return { what: "bytes of memory", count: liteRtWasm.HEAPU8.byteLength };
  }
  const { memory } = await import("@tensorflow/tfjs-core");
  return { what: "tensors", count: memory().numTensors };
}

function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  return sorted[sorted.length >> 1] ?? Number.NaN;
}
