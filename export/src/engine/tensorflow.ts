/** The networks on TensorFlow.js, on whichever of its backends is set. */

import { type GraphModel, loadGraphModel } from "@tensorflow/tfjs-converter";
import { io, type Tensor, tensor, tidy } from "@tensorflow/tfjs-core";
import { CellnetError } from "../errors";
import type { Pixels } from "../images/decode";
import { resize } from "../images/resize";
import type { Backend } from "./backends";
import type { Bundles } from "./bundles";
import type { Graphs } from "./exports";
import { checkAnswer, type Networks } from "./networks";
import { type ActivationMap, type Engine, ROLES, type Role } from "./types";

/**
 * Larger images, forty times a cell's, are brought to the network's size before they become a tensor,
 * which would take twelve bytes a pixel and more. What that rounds is half a grey level.
 */
const LARGE = 4_000_000;

export class TensorFlowNetworks implements Networks {
  readonly engine: Engine;
  readonly batch: number;
  readonly bytes: Readonly<Record<Role, number>>;
  readonly #backend: Backend;
  readonly #bundles: Bundles;
  readonly #graphs: Graphs;
  readonly #models: ReadonlyMap<Role, GraphModel>;

  private constructor(
    backend: Backend,
    bundles: Bundles,
    graphs: Graphs,
    models: ReadonlyMap<Role, GraphModel>,
  ) {
    this.#backend = backend;
    this.#bundles = bundles;
    this.#graphs = graphs;
    this.#models = models;
    this.engine = backend.engine;
    this.batch = backend.batch;
    this.bytes = { model1: graphs.model1.bytes, dysplasianet: graphs.dysplasianet.bytes };
  }

  /** Open the graphs on the backend, which must be the one that is set. */
  static async open(backend: Backend, bundles: Bundles, graphs: Graphs): Promise<Networks> {
    const models = new Map<Role, GraphModel>();
    for (const role of ROLES) {
      models.set(role, await loadGraphModel(io.fromMemory(graphs[role].artifacts)));
    }
    return new TensorFlowNetworks(backend, bundles, graphs, models);
  }

  async answer(role: Role, images: readonly Pixels[]): Promise<number[][]> {
    const fitting = images.map((image) => this.#fit(role, image));
    const answers: number[][] = new Array<number[]>(images.length);
    for (const group of bySize(fitting)) {
      for (const part of parts(group, this.batch)) {
        const found = await this.#run(
          role,
          part.map((place) => fitting[place] as Pixels),
        );
        part.forEach((place, nth) => {
          answers[place] = found[nth] as number[];
        });
      }
    }
    return answers;
  }

  async map(role: Role, image: Pixels, output: number): Promise<ActivationMap> {
    const maps = this.#bundles[role].outputs;
    if (!Number.isInteger(output) || output < 0 || output >= maps) {
      throw new CellnetError(`${role} has outputs 0 to ${maps - 1}, got ${output}`);
    }
    const result = this.#execute(role, [this.#fit(role, image)], this.#graphs[role].map);
    const [, height = 0, width = 0] = result.shape;
    const values = await this.#read(result);
    return { width, height, values: values.filter((_, nth) => nth % maps === output) };
  }

  dispose(): void {
    for (const model of this.#models.values()) model.dispose();
    this.#backend.close();
  }

  async #run(role: Role, images: readonly Pixels[]): Promise<number[][]> {
    // A program is made for each size of batch: so a part batch is filled up with its first image.
    const filled =
      images.length === 1
        ? images
        : Array.from({ length: this.batch }, (_, nth) => images[nth] ?? (images[0] as Pixels));
    const values = await this.#read(this.#execute(role, filled, this.#graphs[role].answer));
    const width = this.#bundles[role].outputs;
    return images.map((_, nth) => {
      const numbers = Array.from(values.subarray(nth * width, (nth + 1) * width));
      checkAnswer(role, numbers, this.engine);
      return numbers;
    });
  }

  #fit(role: Role, image: Pixels): Pixels {
    if (image.width * image.height <= LARGE) return image;
    const { width, height } = this.#bundles[role].input;
    // Half is added because what is too exact for a byte is cut off.
    return { width, height, rgb: Uint8Array.from(resize(image, width, height, 1, 0.5)) };
  }

  #execute(role: Role, images: readonly Pixels[], output: string): Tensor {
    const model = this.#models.get(role) as GraphModel;
    return tidy(() => model.execute({ images: pixelTensor(images) }, output) as Tensor);
  }

  async #read(result: Tensor): Promise<Float32Array> {
    try {
      const values = (await result.data()) as Float32Array;
      this.#backend.check();
      return values;
    } finally {
      result.dispose();
    }
  }
}

function pixelTensor(images: readonly Pixels[]): Tensor {
  const [{ width, height }] = images as [Pixels];
  const values = new Int32Array(images.length * height * width * 3);
  images.forEach(({ rgb }, nth) => {
    values.set(rgb, nth * rgb.length);
  });
  return tensor(values, [images.length, height, width, 3], "int32");
}

/** Places of the images of each size. */
function bySize(images: readonly Pixels[]): number[][] {
  const groups = new Map<string, number[]>();
  images.forEach(({ width, height }, place) => {
    const size = `${width} x ${height}`;
    const group = groups.get(size);
    if (group) group.push(place);
    else groups.set(size, [place]);
  });
  return [...groups.values()];
}

/** Cut a group into batches; what fills no more than half of one goes alone. */
function parts(group: readonly number[], batch: number): number[][] {
  const cut: number[][] = [];
  for (let from = 0; from < group.length; from += batch) {
    const part = group.slice(from, from + batch);
    if (part.length * 2 > batch) cut.push(part);
    else cut.push(...part.map((place) => [place]));
  }
  return cut;
}
