import { describe, expect, test } from "vitest";
import { Refused } from "../src/errors";
import { readHeader } from "../src/images/headers";
import { bytes, readCases } from "./cases";

const CASES = readCases("headers", "files", "refused");

describe("the table that Python's tests read too", () => {
  test.each(CASES.files)("$why", ({ data, kept, format, ...others }) => {
    const { width, height, alpha, orientation } = others;
    const header = readHeader(bytes(data));
    expect(header).toMatchObject({ format, width, height, alpha, orientation });
    if (kept) expect(header.data).toEqual(bytes(kept));
  });

  test.each(CASES.refused)("$why is refused", ({ data, reason }) => {
    expect(() => readHeader(bytes(data))).toThrow(new Refused(reason));
  });

  const whole = CASES.files.filter(
    // Of a huge PNG the header is enough to refuse it; the others may lose bytes that hold nothing.
    ({ why }: { why: string }) =>
      !/huge|behind its end|on its head|animated|byte order|without compression|smaller copy/.test(
        why,
      ),
  );
  test.each(whole)("every cut of $why is noticed", ({ data, format }) => {
    const file = bytes(data);
    for (let length = 0; length < file.length - (format === "WebP" ? 1 : 0); length += 1) {
      expect(() => readHeader(file.subarray(0, length)), `${length} bytes`).toThrow(Refused);
    }
  });
});

test("no bytes raise anything else", () => {
  let state = 1;
  const random = (below: number) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % below;
  };
  for (let round = 0; round < 3000; round += 1) {
    const file = bytes(CASES.files[random(CASES.files.length)].data).slice();
    for (let change = random(8); change >= 0; change -= 1) file[random(file.length)] = random(256);
    try {
      readHeader(file);
    } catch (error) {
      expect(error).toBeInstanceOf(Refused);
    }
  }
});

test("what decoders treat differently goes: a WebP's orientation, a BMP's fourth mask", () => {
  const webp = CASES.files.find(({ why }: { why: string }) => why.includes("on its head"));
  expect(Buffer.from(readHeader(bytes(webp.data)).data).includes("EXIF")).toBe(false);
  const bmp = new Uint8Array(54 + 84);
  const view = new DataView(bmp.buffer);
  view.setUint16(0, 0x424d);
  view.setUint32(10, 122, true);
  view.setUint32(14, 108, true);
  view.setInt32(18, 2, true);
  view.setInt32(22, 2, true);
  view.setUint16(28, 32, true);
  view.setUint32(30, 3, true);
  view.setUint32(66, 0xff000000, true);
  expect(new DataView(readHeader(bmp).data.buffer).getUint32(66, true)).toBe(0);
  expect(view.getUint32(66, true)).toBe(0xff000000);
});
