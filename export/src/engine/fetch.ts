/** Files of a model, fetched and checked against the bytes and the hash that are stated of them. */

import { CellnetError, told } from "../errors";
import { sha256 } from "../sha256";

export type Bytes = Uint8Array<ArrayBuffer>;

/** What is stated of a file; `bytes` may be unknown. */
export type Stated = { readonly path: string; readonly bytes?: number; readonly sha256: string };

/** Told the bytes that have come; less than none where a file has to be fetched again. */
export type Count = (bytes: number) => void;

/**
 * Fetch a file and check it; once more past the browser's cache, which may hold an older one.
 *
 * @throws CellnetError where it is missing or is not what was stated.
 */
export async function fetchFile(folder: URL, file: Stated, count: Count): Promise<Bytes> {
  const address = new URL(file.path, folder);
  let found = "";
  for (const cache of ["default", "reload"] as const) {
    const bytes = await fetchBytes(address, { cache }, count);
    found = await sha256(bytes);
    if (found === file.sha256 && (file.bytes ?? bytes.length) === bytes.length) return bytes;
    count(-bytes.length);
  }
  throw new CellnetError(
    `the model's file ${address} is damaged: its sha256 is ${found.slice(0, 12)}..., expected ` +
      `${file.sha256.slice(0, 12)}...; clear the browser's cache, or build the app again`,
  );
}

/**
 * Fetch a JSON file, asking the server whether an older one still holds.
 *
 * @throws CellnetError where it is missing or is no JSON.
 */
export async function fetchJson(address: URL): Promise<unknown> {
  const text = new TextDecoder().decode(await fetchBytes(address, { cache: "no-cache" }, () => {}));
  try {
    return JSON.parse(text);
  } catch {
    throw new CellnetError(
      `${address} is no JSON: the model is missing or damaged; build it again`,
    );
  }
}

async function fetchBytes(address: URL, options: RequestInit, count: Count): Promise<Bytes> {
  let response: Response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new CellnetError(`${address} does not answer; is the network there?`);
  }
  if (!response.ok || !response.body) {
    throw new CellnetError(`a model is missing: ${address} answers ${response.status}`);
  }
  const portions: Uint8Array[] = [];
  let size = 0;
  try {
    const reader = response.body.getReader();
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      portions.push(next.value);
      size += next.value.length;
      count(next.value.length);
    }
  } catch (error) {
    throw new CellnetError(`${address} broke off after ${size} bytes (${told(error)}); try again`);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const portion of portions) {
    whole.set(portion, at);
    at += portion.length;
  }
  return whole;
}
