/** The networks as TensorFlow.js graphs: what `cellnet export --to tfjs` wrote of the bundles. */

import type { io } from "@tensorflow/tfjs-core";
import { CellnetError } from "../errors";
import type { Bundle, Bundles } from "./bundles";
import { type Count, fetchFile, fetchJson, type Stated } from "./fetch";
import { ROLES, type Role } from "./types";

const SCHEMA = "cellnet/export/1";

/** A graph as it was fetched, ready to be opened on any backend. */
export type Graph = {
  readonly artifacts: io.ModelArtifacts;
  /** Names of the graph's outputs. */
  readonly answer: string;
  readonly map: string;
  /** What was fetched. */
  readonly bytes: number;
};

export type Graphs = Readonly<Record<Role, Graph>>;

/** As much of `export.json` as is used here. */
type Description = {
  readonly schema: string;
  readonly format: string;
  readonly model: { readonly sha256: string };
  readonly outputs: Readonly<Record<"answer" | "activation_map", { readonly name: string }>>;
  readonly files: readonly (Stated & { readonly bytes: number })[];
};

/**
 * Fetch both graphs.
 *
 * @param onProgress told the bytes that have come and that will come.
 * @throws CellnetError where a file is missing or damaged, or was made of other weights.
 */
export async function fetchGraphs(
  bundles: Bundles,
  onProgress: (done: number, total: number) => void,
): Promise<Graphs> {
  const found = await Promise.all(ROLES.map((role) => describe(bundles[role])));
  const total = found.reduce((sum, { description }) => sum + size(description), 0);
  let done = 0;
  const count: Count = (bytes) => {
    done += bytes;
    onProgress(Math.min(done, total), total);
  };
  const graphs = await Promise.all(
    found.map(({ folder, description }) => open(folder, description, count)),
  );
  return Object.fromEntries(ROLES.map((role, nth) => [role, graphs[nth]])) as Graphs;
}

async function describe(bundle: Bundle): Promise<{ folder: URL; description: Description }> {
  const folder = new URL("../tfjs/", bundle.folder);
  const description = (await fetchJson(new URL("export.json", folder))) as Description;
  const wrong = [
    ["schema", description.schema, SCHEMA],
    ["format", description.format, "tfjs"],
    ["weights' sha256", description.model?.sha256, bundle.weights.sha256],
  ].find(([, value, wanted]) => value !== wanted);
  if (wrong) {
    throw new CellnetError(
      `the export in ${folder} is not of the model ${bundle.role}: its ${wrong[0]} is ` +
        `'${wrong[1]}', expected '${wrong[2]}'; export it again`,
    );
  }
  return { folder, description };
}

async function open(folder: URL, description: Description, count: Count): Promise<Graph> {
  const contents = new Map(
    await Promise.all(
      description.files.map(
        async (file) => [file.path, await fetchFile(folder, file, count)] as const,
      ),
    ),
  );
  const content = (path: string) => {
    const bytes = contents.get(path);
    if (!bytes) throw new CellnetError(`the export in ${folder} does not list its file ${path}`);
    return bytes;
  };
  const model = JSON.parse(new TextDecoder().decode(content("model.json"))) as io.ModelJSON;
  const { weightsManifest, modelTopology, ...others } = model;
  return {
    artifacts: {
      ...others,
      modelTopology,
      weightSpecs: weightsManifest.flatMap((group) => group.weights),
      weightData: weightsManifest.flatMap((group) =>
        group.paths.map((path) => content(path).buffer),
      ),
    },
    answer: description.outputs.answer.name,
    map: description.outputs.activation_map.name,
    bytes: size(description),
  };
}

function size({ files }: Description): number {
  return files.reduce((sum, file) => sum + file.bytes, 0);
}
