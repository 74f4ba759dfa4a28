/** What goes into the networks, what comes out of them, and what they are. */

import type { Look } from "../rules/appearance";
import type { OperatingPoint } from "../rules/operating-point";

/** An image to read; `file` is its path in the smear's folder, with `/` between folders. */
export type InputFile = { readonly file: string; readonly blob: Blob };

/** What both networks say of one image, and how it looks. */
export type Reading = {
  readonly file: string;
  /** Model 1's answer, eight numbers in the order of `CLASSES`. */
  readonly probabilities: readonly number[];
  /** DysplasiaNet's score in [0, 1] where Model 1 says neutrophil, else null. */
  readonly granularity: number | null;
  readonly look: Look;
  /** Of the upright image, in pixels. */
  readonly width: number;
  readonly height: number;
};

/** An image that cannot be used, and why. */
export type Unreadable = { readonly file: string; readonly reason: string };

export type Role = "model1" | "dysplasianet";

export const ROLES: readonly Role[] = ["model1", "dysplasianet"];

export type ModelInfo = {
  readonly role: Role;
  readonly name: string;
  readonly version: string;
  /** Of the bundle's weights, as Python states it. */
  readonly sha256: string;
  /** What was fetched for it. */
  readonly bytes: number;
  readonly operatingPoint: OperatingPoint | null;
};

export type Engine = {
  readonly name: "webgpu" | "webgl" | "wasm" | "litert";
  /** For people, such as `WebAssembly, 2 threads`. */
  readonly label: string;
  readonly threads: number;
};

/** One map of an image: `values` has `height` rows of `width` numbers, signed. */
export type ActivationMap = {
  readonly width: number;
  readonly height: number;
  readonly values: Float32Array;
};
