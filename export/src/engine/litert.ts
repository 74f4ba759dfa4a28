/**
 * The networks on LiteRT.js: the runtime that Python uses, as WebAssembly, with the very weights of
 * the bundles. So its answers are Python's, 8-bit activations included, and it takes about half of
 * the time of TensorFlow.js's WebAssembly, which computes with floats. Its program is larger, and
 * it knows no activation maps: those are asked of TensorFlow.js, once somebody wants to see one.
 */

import {
  type CompiledModel,
  loadAndCompile,
  loadLiteRt,
  supportsFeature,
  Tensor,
} from "@litertjs/core";
import plainFactory from "@litertjs/core/wasm/litert_wasm_internal.js";
import plainBinary from "@litertjs/core/wasm/litert_wasm_internal.wasm?packed";
import threadedFactory from "@litertjs/core/wasm/litert_wasm_threaded_internal.js";
import threadedScript from "@litertjs/core/wasm/litert_wasm_threaded_internal.js?url";
import threadedBinary from "@litertjs/core/wasm/litert_wasm_threaded_internal.wasm?packed";
import { CellnetError } from "../errors";
import type { Pixels } from "../images/decode";
import { resize } from "../images/resize";
import { type Bundles, fetchWeights } from "./bundles";
import { oneImageACall } from "./flatbuffer";
import { checkAnswer, type Networks } from "./networks";
import { toldThreads } from "./threads";
import { type ActivationMap, type Engine, ROLES, type Role } from "./types";

export class LiteRtNetworks implements Networks {
  readonly engine: Engine;
  readonly batch = 1;
  readonly bytes: Readonly<Record<Role, number>>;
  readonly #bundles: Bundles;
  readonly #models: ReadonlyMap<Role, CompiledModel>;
  readonly #openMaps: () => Promise<Networks>;
  #maps: Promise<Networks> | null = null;

  private constructor(
    engine: Engine,
    bundles: Bundles,
    models: ReadonlyMap<Role, CompiledModel>,
    openMaps: () => Promise<Networks>,
  ) {
    this.engine = engine;
    this.#bundles = bundles;
    this.#models = models;
    this.#openMaps = openMaps;
    this.bytes = {
      model1: bundles.model1.weights.bytes,
      dysplasianet: bundles.dysplasianet.weights.bytes,
    };
  }

  /**
   * Fetch the weights and open them.
   *
   * @param openMaps opens the networks that are asked for activation maps.
   * @throws CellnetError where the browser is too old for it, or a file is missing or damaged.
   */
  static async open(
    bundles: Bundles,
    threads: number,
    openMaps: () => Promise<Networks>,
    onProgress: (done: number, total: number) => void,
  ): Promise<Networks> {
    if (!(await supportsFeature("relaxedSimd"))) {
      throw new CellnetError("the browser's WebAssembly has no relaxed SIMD");
    }
    const total = ROLES.reduce((sum, role) => sum + bundles[role].weights.bytes, 0);
    let done = 0;
    const files = await Promise.all([
      start(),
      ...ROLES.map((role) =>
        fetchWeights(bundles[role], (bytes) => {
          done += bytes;
          onProgress(Math.min(done, total), total);
        }),
      ),
    ]);
    const models = new Map<Role, CompiledModel>();
    for (const [nth, role] of ROLES.entries()) {
      const file = oneImageACall(files[nth + 1] as Uint8Array<ArrayBuffer>);
      const options = { accelerator: "wasm", cpuOptions: { numThreads: threads } } as const;
      models.set(role, await loadAndCompile(file, options));
    }
    const label = `LiteRT on WebAssembly with SIMD, ${toldThreads(threads)}`;
    return new LiteRtNetworks({ name: "litert", label, threads }, bundles, models, openMaps);
  }

  async answer(role: Role, images: readonly Pixels[]): Promise<number[][]> {
    const { height, width, scale, offset } = this.#bundles[role].input;
    const model = this.#models.get(role) as CompiledModel;
    const answers: number[][] = [];
    for (const image of images) {
      const input = new Tensor(resize(image, width, height, scale, offset), [1, height, width, 3]);
      const outputs = await model.run(input);
      try {
        const numbers = Array.from(outputs[0]?.toTypedArray() ?? [], Number);
        checkAnswer(role, numbers, this.engine);
        answers.push(numbers);
      } finally {
        input.delete();
        for (const output of outputs) output.delete();
      }
    }
    return answers;
  }

  async map(role: Role, image: Pixels, output: number): Promise<ActivationMap> {
    this.#maps ??= this.#openMaps().catch((error: unknown) => {
      this.#maps = null;
      throw error;
    });
    return (await this.#maps).map(role, image, output);
  }

  dispose(): void {
    for (const model of this.#models.values()) model.delete();
    void this.#maps?.then((maps) => maps.dispose());
  }
}

/**
 * Start the program from files of the app; it would fetch itself as a script, as modules cannot.
 * An isolated page takes the program with threads however many it runs: so the other one, nine
 * megabytes as well unpacked, is none of the files that are kept for later.
 */
async function start(): Promise<void> {
  const isThreaded = globalThis.crossOriginIsolated;
  Object.assign(globalThis, {
    ModuleFactory: isThreaded ? threadedFactory : plainFactory,
    Module: {
      wasmBinary: await fetchPacked(isThreaded ? threadedBinary : plainBinary),
      mainScriptUrlOrBlob: here(threadedScript),
      // It reports each step of its start.
      print: () => {},
      printErr: () => {},
    },
    importScripts: () => {},
  });
  await loadLiteRt("./", { threads: isThreaded });
}

/** Fetch a program of nine megabytes that comes as three. */
async function fetchPacked(address: string): Promise<ArrayBuffer> {
  const response = await fetch(here(address));
  if (!response.ok || !response.body) {
    throw new CellnetError(`a program is missing: ${response.url} answers ${response.status}`);
  }
  const unpacked = response.body.pipeThrough(new DecompressionStream("gzip"));
  return new Response(unpacked).arrayBuffer();
}

function here(address: string): string {
  return new URL(address, import.meta.url).href;
}
