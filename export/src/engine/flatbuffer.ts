/** As much of LiteRT's file format as is needed to change one number in it. */

import { CellnetError } from "../errors";

// Places of fields in LiteRT's schema: Model.subgraphs, SubGraph.tensors, Tensor.shape_signature.
const SUBGRAPHS = 2;
const TENSORS = 0;
const SHAPE_SIGNATURE = 7;

/**
 * Say in a flatbuffer that one image comes at a time. The bundles leave that number open, which this
 * runtime does not know: each tensor's `shape_signature` then begins with -1.
 */
export function oneImageACall(file: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const fixed = file.slice();
  const bytes = new DataView(fixed.buffer);
  const follow = (at: number) => at + bytes.getUint32(at, true);
  /** Place of a table's field; 0 where it is left out. */
  const field = (table: number, nth: number) => {
    const layout = table - bytes.getInt32(table, true);
    const place = 4 + 2 * nth;
    const isThere = place < bytes.getUint16(layout, true);
    const offset = isThere ? bytes.getUint16(layout + place, true) : 0;
    return offset && table + offset;
  };
  const tables = (at: number) =>
    Array.from({ length: bytes.getUint32(at, true) }, (_, nth) => follow(at + 4 + 4 * nth));
  try {
    for (const subgraph of tables(follow(field(follow(0), SUBGRAPHS)))) {
      for (const tensor of tables(follow(field(subgraph, TENSORS)))) {
        const signature = field(tensor, SHAPE_SIGNATURE);
        const first = signature && follow(signature) + 4;
        if (first && bytes.getInt32(first, true) === -1) bytes.setInt32(first, 1, true);
      }
    }
  } catch (error) {
    if (error instanceof RangeError) throw new CellnetError("the weights are no LiteRT flatbuffer");
    throw error;
  }
  return fixed;
}
