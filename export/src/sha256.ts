/** SHA-256, the hash that bundles, exports and looks state. */

/** Hash bytes; lower-case hexadecimal text. */
export async function sha256(data: Uint8Array<ArrayBuffer>): Promise<string> {
  // A page that came over plain HTTP from another computer has no `crypto.subtle`.
  const hash = globalThis.crypto?.subtle
    ? new Uint8Array(await crypto.subtle.digest("SHA-256", data))
    : (await import("@noble/hashes/sha2.js")).sha256(data);
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
