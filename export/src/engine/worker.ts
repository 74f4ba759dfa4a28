/** The networks' own thread: it opens them, decodes images, answers what the page asks. */

import { NEUTROPHIL } from "../cells";
import { CellnetError, Refused, told } from "../errors";
import { checkPixels, decodeImage, type Pixels } from "../images/decode";
import { type Look, measure } from "../rules/appearance";
import { nameCell } from "../rules/smear";
import { sha256 } from "../sha256";
import { fetchBundles } from "./bundles";
import { openBest } from "./choose";
import type { Networks } from "./networks";
import type { Answers, Kind, Message, Opened, Outcome, Question, Questions } from "./protocol";
import type { InputFile, ModelInfo, Role } from "./types";

let networks: Networks | null = null;

const answerers: {
  [K in Kind]: (asked: Questions[K], progress: Progress) => Promise<Answers[K]>;
} = { open, read, score, map };

type Progress = (done: number, total: number) => void;

self.onmessage = async ({ data: { id, kind, asked } }: MessageEvent<Question>) => {
  const say = (message: Message, transfer: Transferable[] = []) =>
    self.postMessage(message, { transfer });
  try {
    const progress: Progress = (done, total) => say({ id, kind: "progress", done, total });
    const value = await answerers[kind](asked as never, progress);
    say({ id, kind: "answer", value });
  } catch (error) {
    const isKnown = error instanceof CellnetError || error instanceof Refused;
    say({ id, kind: "failure", message: told(error), isKnown });
  }
};

async function open({ base, only }: Questions["open"], progress: Progress): Promise<Opened> {
  await checkPixels();
  const bundles = await fetchBundles(new URL(base));
  networks = await openBest(bundles, only, progress);
  const { engine, batch, bytes } = networks;
  const info = (role: Role): ModelInfo => {
    const { name, version, weights, operatingPoint } = bundles[role];
    return { role, name, version, sha256: weights.sha256, bytes: bytes[role], operatingPoint };
  };
  return {
    engine,
    batch: Math.max(batch, 2),
    models: { model1: info("model1"), dysplasianet: info("dysplasianet") },
  };
}

/** While the networks are at one batch, the images of the next are decoded. */
async function read({ files }: Questions["read"]): Promise<Outcome[]> {
  const decoded = Promise.all(files.map(decode));
  return inTurn(async () => answerAll(await decoded));
}

async function answerAll(decoded: readonly Decoded[]): Promise<Outcome[]> {
  const images = decoded.flatMap((it) => ("pixels" in it ? [it.pixels] : []));
  const named = await opened().answer("model1", images);
  const isNeutrophil = (numbers: readonly number[]) => nameCell(numbers)[0] === NEUTROPHIL;
  const neutrophils = images.filter((_, place) => isNeutrophil(named[place] as number[]));
  const scored = await opened().answer("dysplasianet", neutrophils);
  return decoded.map((it) => {
    if ("reason" in it) return { unreadable: { file: it.file, reason: it.reason } };
    const { file, look, pixels } = it;
    return {
      reading: {
        file,
        probabilities: named[images.indexOf(pixels)] as number[],
        granularity: scored[neutrophils.indexOf(pixels)]?.[0] ?? null,
        look,
        width: pixels.width,
        height: pixels.height,
      },
    };
  });
}

async function score({ file }: Questions["score"]): Promise<number> {
  const image = await decodeImage(file.blob);
  const [answer] = await inTurn(() => opened().answer("dysplasianet", [image]));
  return answer?.[0] as number;
}

async function map({ file, role, output }: Questions["map"]): Promise<Answers["map"]> {
  const image = await decodeImage(file.blob);
  return inTurn(() => opened().map(role, image, output));
}

let last: Promise<unknown> = Promise.resolve();

/** One piece of work after the other: an engine has one state, and answers keep their order. */
function inTurn<T>(work: () => Promise<T>): Promise<T> {
  const mine = last.then(work);
  last = mine.catch(() => {});
  return mine;
}

type Decoded =
  | { readonly file: string; readonly pixels: Pixels; readonly look: Look }
  | { readonly file: string; readonly reason: string };

async function decode({ file, blob }: InputFile): Promise<Decoded> {
  try {
    const pixels = await decodeImage(blob);
    return { file, pixels, look: await lookAt(pixels) };
  } catch (error) {
    if (error instanceof Refused) return { file, reason: error.message };
    throw error;
  }
}

/** Measure an image, and hash its pixels and size as Python does. */
async function lookAt({ width, height, rgb }: Pixels): Promise<Look> {
  const size = new TextEncoder().encode(`${height}x${width}`);
  const hashed = new Uint8Array(rgb.length + size.length);
  hashed.set(rgb);
  hashed.set(size, rgb.length);
  const pixels = (await sha256(hashed)).slice(0, 32);
  return { ...measure(rgb, width, height), pixels };
}

function opened(): Networks {
  if (!networks) throw new Error("the networks are not open yet");
  return networks;
}
