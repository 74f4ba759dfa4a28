/** Arrays that NumPy wrote: a ZIP of `.npy` files, of which the few kinds are read that bundles use. */

import { CellnetError, told } from "../errors";

export type NpyArray = {
  readonly shape: readonly number[];
  readonly values: Uint8Array | Float32Array;
};

const END = 0x06054b50;
const ENTRY = 0x02014b50;

/**
 * Read all arrays of a `.npz` file.
 *
 * @throws CellnetError where it is no such file.
 */
export async function readNpz(file: Uint8Array<ArrayBuffer>): Promise<Map<string, NpyArray>> {
  const bytes = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const arrays = new Map<string, NpyArray>();
  try {
    // No comment is written behind the end record, so it is the last 22 bytes.
    const end = file.length - 22;
    if (bytes.getUint32(end, true) !== END) throw new CellnetError("it has no end record");
    let at = bytes.getUint32(end + 16, true);
    for (let left = bytes.getUint16(end + 10, true); left > 0; left -= 1) {
      if (bytes.getUint32(at, true) !== ENTRY) throw new CellnetError("an entry is missing");
      const method = bytes.getUint16(at + 10, true);
      const packed = bytes.getUint32(at + 20, true);
      const nameLength = bytes.getUint16(at + 28, true);
      const local = bytes.getUint32(at + 42, true);
      const name = new TextDecoder().decode(file.subarray(at + 46, at + 46 + nameLength));
      const start =
        local + 30 + bytes.getUint16(local + 26, true) + bytes.getUint16(local + 28, true);
      const content = file.subarray(start, start + packed);
      arrays.set(name.replace(/\.npy$/, ""), npy(method === 0 ? content : await inflate(content)));
      at += 46 + nameLength + bytes.getUint16(at + 30, true) + bytes.getUint16(at + 32, true);
    }
  } catch (error) {
    // Whatever a damaged file leads to: places behind its end, bytes that are not packed.
    throw new CellnetError(`the model's golden file cannot be read: ${told(error)}`);
  }
  return arrays;
}

async function inflate(packed: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function npy(file: Uint8Array<ArrayBuffer>): NpyArray {
  const length = new DataView(file.buffer, file.byteOffset).getUint16(8, true);
  const header = new TextDecoder("latin1").decode(file.subarray(10, 10 + length));
  const kind = /'descr': '([^']+)'/.exec(header)?.[1];
  const shape = /'shape': \(([0-9, ]+)\)/.exec(header)?.[1];
  if (!kind || !shape || !header.includes("'fortran_order': False")) {
    throw new CellnetError(`an array of an unknown kind: ${header.trim()}`);
  }
  const body = file.slice(10 + length).buffer;
  const sides = shape.split(",").filter(Boolean).map(Number);
  if (kind === "|u1") return { shape: sides, values: new Uint8Array(body) };
  if (kind === "<f4") return { shape: sides, values: new Float32Array(body) };
  throw new CellnetError(`an array of the kind ${kind}`);
}
