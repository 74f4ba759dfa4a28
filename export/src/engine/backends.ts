/** What TensorFlow.js computes with: WebGPU, WebGL or WebAssembly, and whether it still works. */

import { engine, env, type KernelBackend, removeBackend, setBackend } from "@tensorflow/tfjs-core";
import { CellnetError } from "../errors";
import { toldThreads } from "./threads";
import type { Engine } from "./types";

export type Backend = {
  readonly engine: Engine;
  /** Images of one size that are best computed together. */
  readonly batch: number;
  /** @throws CellnetError where it has lost its processor, and answers are worth nothing. */
  check(): void;
  /** Free all that it holds. */
  close(): void;
};

/** Images a batch on a graphics processor, which is idle most of the time on one. */
const GPU_BATCH = 8;

/** Start WebAssembly and set it. */
export async function openWasm(threads: number): Promise<Backend> {
  const { registerWasm } = await import("./wasm");
  registerWasm(threads);
  await start("wasm");
  const simd = (await env().getAsync("WASM_HAS_SIMD_SUPPORT")) ? " with SIMD" : "";
  const label = `TensorFlow.js on WebAssembly${simd}, ${toldThreads(threads)}`;
  return {
    engine: { name: "wasm", label, threads },
    batch: 1,
    check: () => {},
    close: () => removeBackend("wasm"),
  };
}

/** Start WebGPU and set it. */
export async function openWebGpu(processor: string): Promise<Backend> {
  await import("@tensorflow/tfjs-backend-webgpu");
  const backend = (await start("webgpu")) as KernelBackend & { device: GPUDevice };
  let lost = "";
  void backend.device.lost.then(({ message, reason }) => {
    lost = message || reason || "no reason given";
  });
  return graphics("webgpu", `TensorFlow.js on WebGPU (${processor})`, () => lost);
}

/** Start WebGL and set it. */
export async function openWebGl(processor: string): Promise<Backend> {
  await import("@tensorflow/tfjs-backend-webgl");
  const backend = (await start("webgl")) as KernelBackend & {
    gpgpu: { gl: WebGL2RenderingContext };
  };
  if (!env().getBool("WEBGL_RENDER_FLOAT32_CAPABLE")) {
    removeBackend("webgl");
    throw new CellnetError("it computes with half of the digits only");
  }
  return graphics("webgl", `TensorFlow.js on WebGL (${processor})`, () =>
    backend.gpgpu.gl.isContextLost() ? "its context was lost" : "",
  );
}

function graphics(name: "webgpu" | "webgl", label: string, lost: () => string): Backend {
  return {
    engine: { name, label, threads: 1 },
    batch: GPU_BATCH,
    check() {
      if (lost()) {
        throw new CellnetError(
          `the graphics processor stopped answering (${lost()}); reload the page and go on`,
        );
      }
    },
    close: () => removeBackend(name),
  };
}

async function start(name: Engine["name"]): Promise<KernelBackend> {
  if (await setBackend(name)) return engine().backend;
  throw new CellnetError(`${name} cannot be started`);
}
