/**
 * TensorFlow.js's WebAssembly backend, started from files of the app alone.
 *
 * The package would start its threads from blobs of its own source, which a strict policy forbids
 * and a bundler breaks, and it never uses more threads than half of what the browser calls a core:
 * on two cores one. So its program is started here, in the package's own words, and the threads
 * from served files.
 */

import threadScript from "virtual:tfjs-thread";
import { BackendWasm, setThreadsCount } from "@tensorflow/tfjs-backend-wasm";
import plainFactory, {
  type BackendWasmModule,
  type WasmFactoryConfig,
} from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm.js";
import plainBinary from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm.wasm?url";
import simdBinary from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-simd.wasm?url";
import threadedFactory from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd.js";
import threadedScript from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd.js?url";
import threadedBinary from "@tensorflow/tfjs-backend-wasm/wasm-out/tfjs-backend-wasm-threaded-simd.wasm?url";
import { env, registerBackend, removeBackend } from "@tensorflow/tfjs-core";
import { CellnetError, told } from "../errors";

/** Make the backend `wasm` start with so many threads; it starts when it is first set. */
export function registerWasm(threads: number): void {
  removeBackend("wasm");
  setThreadsCount(threads);
  registerBackend("wasm", async () => {
    try {
      return new BackendWasm(withCalls(await start(threads)));
    } catch (error) {
      throw new CellnetError(`WebAssembly cannot be started: ${told(error)}; use a newer browser`);
    }
  });
}

async function start(threads: number): Promise<BackendWasmModule> {
  if (threads === 1) {
    const hasSimd = await env().getAsync("WASM_HAS_SIMD_SUPPORT");
    return plainFactory({ locateFile: () => here(hasSimd ? simdBinary : plainBinary) });
  }
  // The program halves this number before it compares it with the threads that are wanted.
  const value = 2 * threads;
  Object.defineProperty(navigator, "hardwareConcurrency", { value, configurable: true });
  const settings: WasmFactoryConfig = {
    locateFile: (path) => here(path.endsWith(".wasm") ? threadedBinary : threadScript),
    mainScriptUrlOrBlob: here(threadedScript),
  };
  return threadedFactory(settings);
}

function here(address: string): string {
  return new URL(address, import.meta.url).href;
}

/** Add the calls that the package's backend expects. */
function withCalls(module: BackendWasmModule): BackendWasmModule {
  const { cwrap } = module as unknown as Wrapper;
  const call = (name: string, answer: "number" | null, inputs: number) =>
    cwrap(name, answer, new Array<"number">(inputs).fill("number"));
  module.tfjs = {
    init: call("init", null, 0),
    initWithThreadsCount: call("init_with_threads_count", null, 1),
    getThreadsCount: call("get_threads_count", "number", 0),
    registerTensor: call("register_tensor", null, 3),
    disposeData: call("dispose_data", null, 1),
    dispose: call("dispose", null, 0),
  };
  return module;
}

type Wrapper = {
  cwrap: (
    name: string,
    answer: "number" | null,
    inputs: "number"[],
  ) => (...numbers: number[]) => number;
};
