/** The tables of cases that Python's tests read too. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Read parts of a table. */
export function readCases<Part extends string>(
  name: string,
  ...parts: Part[]
): Record<Part, any[]> {
  const folder = join(import.meta.dirname, "..", "..", "tests", "cases");
  const table = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf-8"));
  for (const part of parts) {
    if (!table[part]?.length) throw new Error(`${name}.json has no cases called ${part}`);
  }
  return table;
}

/** Bytes that a table holds as base64. */
export function bytes(base64: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(base64, "base64"));
}
