/**
 * The bundles, as Python has them: what each network is, how images are made ready for it, which
 * operating point belongs to it, and golden images with the answers that it must give.
 */

import { CLASSES } from "../cells";
import { CellnetError } from "../errors";
import type { Pixels } from "../images/decode";
import { type OperatingPoint, readOperatingPoint } from "../rules/operating-point";
import { type Count, fetchFile, fetchJson, type Stated } from "./fetch";
import { readNpz } from "./npz";
import { ROLES, type Role } from "./types";

const SCHEMA = "cellnet/bundle/1";
const RESIZE = "bilinear, half-pixel centres, no antialias";
const KINDS: Readonly<Record<Role, "probabilities" | "granularity">> = {
  model1: "probabilities",
  dysplasianet: "granularity",
};

export type Bundle = {
  readonly role: Role;
  readonly folder: URL;
  readonly name: string;
  readonly version: string;
  readonly weights: Stated & { readonly bytes: number };
  /** Size of the network's input, and what is done to its values. */
  readonly input: {
    readonly height: number;
    readonly width: number;
    readonly scale: number;
    readonly offset: number;
  };
  /** How many numbers answer one image. */
  readonly outputs: number;
  readonly operatingPoint: OperatingPoint | null;
  readonly golden: { readonly images: readonly Pixels[]; readonly outputs: readonly number[][] };
};

export type Bundles = Readonly<Record<Role, Bundle>>;

/** As much of `bundle.json` as is used here. */
type Description = {
  readonly schema: string;
  readonly name: string;
  readonly version: string;
  readonly input: Bundle["input"] & { readonly resize: string; readonly channels: string };
  readonly output: { readonly kind: string; readonly classes: readonly string[] | null };
  readonly weights: { readonly file: string; readonly bytes: number; readonly sha256: string };
  readonly golden: { readonly file: string; readonly sha256: string };
};

/**
 * Fetch both bundles, without their weights.
 *
 * @param base the folder that holds `models/`.
 * @throws CellnetError where one is missing, damaged, or not what its place asks for.
 */
export async function fetchBundles(base: URL): Promise<Bundles> {
  const bundles = await Promise.all(ROLES.map((role) => fetchBundle(base, role)));
  return Object.fromEntries(bundles.map((bundle) => [bundle.role, bundle])) as Bundles;
}

/** Fetch the weights, the LiteRT flatbuffer that Python runs. */
export function fetchWeights(
  { folder, weights }: Bundle,
  count: Count,
): Promise<Uint8Array<ArrayBuffer>> {
  return fetchFile(folder, weights, count);
}

async function fetchBundle(base: URL, role: Role): Promise<Bundle> {
  const folder = new URL(`models/${role}/bundle/`, base);
  const given = (await fetchJson(new URL("bundle.json", folder))) as Description;
  const { name, version, input, output, weights, golden } = given;
  const wrong = [
    ["schema", given.schema, SCHEMA],
    ["kind", output?.kind, KINDS[role]],
    ["classes", String(output?.classes), String(role === "model1" ? CLASSES : null)],
    ["resize", input?.resize, RESIZE],
    ["channels", input?.channels, "RGB"],
  ].find(([, value, wanted]) => value !== wanted);
  if (wrong) {
    throw new CellnetError(
      `the model ${role} cannot be used: its ${wrong[0]} is '${wrong[1]}', expected '${wrong[2]}'`,
    );
  }
  const outputs = role === "model1" ? CLASSES.length : 1;
  return {
    role,
    folder,
    name,
    version,
    weights: { path: weights.file, bytes: weights.bytes, sha256: weights.sha256 },
    input,
    outputs,
    operatingPoint: role === "dysplasianet" ? await fetchPoint(folder, weights.sha256) : null,
    golden: await fetchGolden(folder, { path: golden.file, sha256: golden.sha256 }, outputs),
  };
}

async function fetchPoint(folder: URL, weightsSha256: string): Promise<OperatingPoint> {
  return readOperatingPoint(
    await fetchJson(new URL("operating_point.json", folder)),
    weightsSha256,
  );
}

async function fetchGolden(folder: URL, file: Stated, numbers: number): Promise<Bundle["golden"]> {
  const arrays = await readNpz(await fetchFile(folder, file, () => {}));
  const images = arrays.get("images");
  const outputs = arrays.get("outputs");
  const [count = 0, height = 0, width = 0, channels] = images?.shape ?? [];
  if (
    !images ||
    !outputs ||
    channels !== 3 ||
    count < 1 ||
    String(outputs.shape) !== `${count},${numbers}`
  ) {
    throw new CellnetError(`the golden file ${file.path} of ${folder} holds something else`);
  }
  const size = height * width * 3;
  const places = Array.from({ length: count }, (_, place) => place);
  return {
    images: places.map((place) => ({
      width,
      height,
      rgb: Uint8Array.from(images.values.subarray(place * size, (place + 1) * size)),
    })),
    outputs: places.map((place) =>
      Array.from(outputs.values.subarray(place * numbers, (place + 1) * numbers)),
    ),
  };
}
