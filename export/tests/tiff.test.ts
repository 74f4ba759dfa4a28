import { describe, expect, test } from "vitest";
import { Refused } from "../src/errors";
import { upright } from "../src/images/decode";
import { readHeader } from "../src/images/headers";
import { decodeTiff } from "../src/images/tiff";
import { readCases } from "./cases";

const CASES = readCases("tiff", "files", "others");

describe("the table that Python's tests read too", () => {
  test.each(CASES.files)("$why", ({ data, width, height, rgb }) => {
    const header = readHeader(new Uint8Array(Buffer.from(data, "base64")));
    const image = upright(decodeTiff(header), header.orientation);
    expect([image.width, image.height]).toEqual([width, height]);
    const wanted = new Uint8Array(Buffer.from(rgb, "base64"));
    const worst = Math.max(
      ...image.rgb.map((value, nth) => Math.abs(value - (wanted[nth] ?? 999))),
    );
    expect(worst).toBeLessThanOrEqual(1);
  });

  test.each(CASES.others)("$why is refused here, and says so", ({ data }) => {
    const header = readHeader(new Uint8Array(Buffer.from(data, "base64")));
    expect(() => decodeTiff(header)).toThrow(Refused);
    expect(() => decodeTiff(header)).toThrow("save it as PNG");
  });
});
