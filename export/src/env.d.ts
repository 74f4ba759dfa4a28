/// <reference types="vite/client" />

/** The address of the program that each thread of TensorFlow.js runs; see `vite.config.ts`. */
declare module "virtual:tfjs-thread" {
  const address: string;
  export default address;
}

/** The address of a file in gzip; see `vite.packed.ts`. */
declare module "*?packed" {
  const address: string;
  export default address;
}

/** LiteRT.js's program, which its package fetches as a script; only handed on. */
declare module "@litertjs/core/wasm/*.js" {
  const factory: unknown;
  export default factory;
}
