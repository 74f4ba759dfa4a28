/**
 * Stands in for the networks where only the page is tested: answers made from the files' names,
 * `neutrophil-0.97.jpg` a neutrophil of that granularity, `lymphocyte.jpg` a lymphocyte,
 * `broken.jpg` unreadable, `neutrophil-0.97_twin1.jpg` the same picture as any other twin. Never part of what is shipped.
 */

import { CLASSES } from "../../src/cells";
import type { ActivationMap, InputFile, Reading, Role, Unreadable } from "../../src/engine/types";

export type * from "../../src/engine/types";

const sha = (letter: string) => letter.repeat(64);
const estimate = { value: 0.99, ci95: [0.98, 1] as const, n: 100, method: "clopper-pearson" };
const fitted = (comparison: string, fitted_on: Record<string, unknown>) => ({
  comparison,
  criterion: "largest Youden's J",
  fitted_on,
  auc: estimate,
  sensitivity: estimate,
  specificity: estimate,
  youden: 0.98,
});

export class CellReader {
  readonly engine = { name: "wasm", label: "Stand-in, no networks", threads: 1 } as const;
  readonly models = {
    model1: model("model1", "a", null),
    dysplasianet: model("dysplasianet", "b", {
      cutoff: 0.9719309508800507,
      threshold: 0.115,
      minimumNeutrophils: 10,
      cell: fitted("dysplastic where score <= cutoff", {
        split: "test-by-cell",
        dysplastic: 492,
        normal: 492,
      }),
      smear: fitted("mds-suspected where dysplastic_fraction > threshold", {
        split: "test-by-smear",
        mds: 60,
        healthy: 60,
      }),
    }),
  };

  static async open(
    base: URL,
    onProgress: (done: number, total: number) => void = () => {},
  ): Promise<CellReader> {
    for (let done = 0; done <= 10; done += 1) {
      onProgress(done * 2.7e6, 27e6);
      await wait(base.hash === "#slow" ? 300 : 5);
    }
    if (globalThis.location?.hash === "#broken") {
      throw new Error("models/model1/tfjs/model.json: the server answered 404; run `make export`");
    }
    return new CellReader();
  }

  async read(
    files: readonly InputFile[],
    on: { reading(reading: Reading): void; unreadable(unreadable: Unreadable): void },
    signal: AbortSignal,
  ): Promise<void> {
    for (const input of files) {
      await wait(files.length > 500 ? 0 : globalThis.location?.hash === "#slow" ? 100 : 3);
      signal.throwIfAborted();
      if (input.file.includes("broken")) {
        on.unreadable({ file: input.file, reason: "the JPEG data are damaged" });
      } else {
        on.reading(await reading(input));
      }
    }
  }

  async score(): Promise<number> {
    await wait(50);
    return 0.25;
  }

  async activationMap(_input: InputFile, role: Role, output: number): Promise<ActivationMap> {
    await wait(50);
    const side = role === "model1" ? 3 : 16;
    const values = new Float32Array(side * side);
    for (let at = 0; at < values.length; at += 1) {
      const x = ((at % side) + 0.5) / side - 0.5;
      const y = (Math.floor(at / side) + 0.5) / side - 0.5;
      const near = Math.exp(-20 * (x * x + y * y));
      values[at] = (role === "model1" ? 1 : -1) * near + 0.1 * Math.sin(output + at) * near;
    }
    return { width: side, height: side, values };
  }

  close(): void {}
}

function model(role: Role, letter: string, operatingPoint: unknown) {
  return {
    role,
    name: role,
    version: "1.0.0",
    sha256: sha(letter),
    bytes: 1000,
    operatingPoint: operatingPoint as never,
  };
}

async function reading({ file, blob }: InputFile): Promise<Reading> {
  const name = file.slice(file.lastIndexOf("/") + 1);
  const [, label, number] = /^([a-z]+)-?([\d.]*?)(?:_|\.jpg)/.exec(name) ?? [];
  const at = CLASSES.indexOf(label as (typeof CLASSES)[number]);
  const doubt = 0.02 + (0.4 * (hash(name) % 100)) / 100;
  const best = at < 0 ? 0.41 : 1 - doubt;
  const place = at < 0 ? hash(name) % 8 : at;
  const probabilities = CLASSES.map((_, index) =>
    index === place ? best : (1 - best) / (CLASSES.length - 1),
  );
  const granularity = label === "neutrophil" ? Number(number || "0.999") : null;
  return {
    file,
    probabilities,
    granularity,
    width: 360,
    height: 360,
    look: {
      height: 360,
      width: 360,
      pixels: name.includes("twin") ? "twin" : `${file}${blob.size}`,
      depth: 0.83,
      blueOverGreen: 93,
      blueOverRed: 47,
      background: 230,
    },
  };
}

function hash(text: string): number {
  return [...text].reduce((sum, mark) => (31 * sum + mark.charCodeAt(0)) % 9973, 7);
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
