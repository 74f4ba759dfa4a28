/**
 * Which engine is used: the first that is there, gives the answers that the bundles say it must, and
 * is quick enough. Graphics processors differ in their arithmetic and their drivers in their
 * faults, so none is taken at its word.
 */

import { CellnetError, told } from "../errors";
import type { Backend } from "./backends";
import type { Bundles } from "./bundles";
import { findWebGl, findWebGpu } from "./graphics";
import { type Networks, prove } from "./networks";
import { usableThreads } from "./threads";
import type { Engine } from "./types";

type Progress = (done: number, total: number) => void;

/** A graphics processor that takes longer for a cell than a processor does is none, in milliseconds. */
const SLOW_GRAPHICS = 100;

/** What tries to open an engine; it throws what prevents it. */
type Way = {
  readonly name: Engine["name"];
  open(bundles: Bundles, isForced: boolean, onProgress: Progress): Promise<Networks>;
};

/** The best first. */
const WAYS: readonly Way[] = [
  {
    name: "webgpu",
    async open(bundles, isForced, onProgress) {
      const processor = await findWebGpu(isForced);
      return onTensorFlow((its) => its.openWebGpu(processor), bundles, onProgress);
    },
  },
  {
    name: "webgl",
    async open(bundles, isForced, onProgress) {
      const processor = await findWebGl(isForced);
      return onTensorFlow((its) => its.openWebGl(processor), bundles, onProgress);
    },
  },
  {
    name: "litert",
    async open(bundles, _isForced, onProgress) {
      const { LiteRtNetworks } = await import("./litert");
      const maps = () =>
        onTensorFlow(
          (its) => its.openWasm(1),
          bundles,
          () => {},
        );
      return LiteRtNetworks.open(bundles, usableThreads(), maps, onProgress);
    },
  },
  {
    name: "wasm",
    open: (bundles, _isForced, onProgress) =>
      onTensorFlow((its) => its.openWasm(usableThreads()), bundles, onProgress),
  },
];

/**
 * Open the networks on the best engine.
 *
 * @param only the one to use, however slow it is; null for the best.
 * @throws CellnetError where none can be used, with the reason of each.
 */
export async function openBest(
  bundles: Bundles,
  only: Engine["name"] | null,
  onProgress: Progress,
): Promise<Networks> {
  const reasons: string[] = [];
  for (const way of WAYS.filter(({ name }) => only === null || name === only)) {
    let networks: Networks | null = null;
    try {
      networks = await way.open(bundles, only !== null, onProgress);
      const time = await prove(networks, bundles);
      if (only === null && networks.batch > 1 && time > SLOW_GRAPHICS) {
        throw new CellnetError(`it is slow: ${Math.round(time)} milliseconds a cell`);
      }
      return networks;
    } catch (error) {
      networks?.dispose();
      reasons.push(`${way.name}: ${told(error)}`);
    }
  }
  throw new CellnetError(`the networks cannot be run in this browser (${reasons.join("; ")})`);
}

/** TensorFlow.js is large, and fetched where it is needed only. */
async function onTensorFlow(
  open: (backends: typeof import("./backends")) => Promise<Backend>,
  bundles: Bundles,
  onProgress: Progress,
): Promise<Networks> {
  const [backends, { fetchGraphs }, { TensorFlowNetworks }] = await Promise.all([
    import("./backends"),
    import("./exports"),
    import("./tensorflow"),
  ]);
  const graphs = await fetchGraphs(bundles, onProgress);
  const backend = await open(backends);
  try {
    return await TensorFlowNetworks.open(backend, bundles, graphs);
  } catch (error) {
    backend.close();
    throw error;
  }
}
