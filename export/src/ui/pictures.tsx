/** Pictures of cells: the files themselves, shown by the browser without a copy. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { InputFile } from "../engine/client";
import type { Smear } from "./smear";

const addresses = new WeakMap<Blob, string>();

/** The address of a file's picture; the same for the same file. */
export function pictureOf(blob: Blob): string {
  const known = addresses.get(blob);
  if (known) return known;
  const address = URL.createObjectURL(blob);
  addresses.set(blob, address);
  return address;
}

/** Let go of the pictures of files that are shown no more. */
function forgetPictures(files: readonly InputFile[]): void {
  for (const { blob } of files) {
    const address = addresses.get(blob);
    if (address) URL.revokeObjectURL(address);
    addresses.delete(blob);
  }
}

/** Let go of a smear's pictures when it is removed; else they stay in memory with the page. */
export function useForgetting(smears: readonly Smear[]): void {
  const before = useRef<readonly Smear[]>([]);
  useEffect(() => {
    const left = new Set(smears.map(({ id }) => id));
    const gone = before.current.filter(({ id }) => !left.has(id));
    before.current = smears;
    if (gone.length === 0) return;
    // The files may have been sorted into another smear.
    const shown = new Set(smears.flatMap(({ files }) => files.map(({ blob }) => blob)));
    forgetPictures(gone.flatMap(({ files }) => files.filter(({ blob }) => !shown.has(blob))));
  }, [smears]);
}

/** A cell's picture. What the browser cannot show (TIFF) is decoded as for the networks. */
export function Picture({ blob, isLazy }: { blob: Blob; isLazy: boolean }) {
  const [shown, setShown] = useState<{ blob: Blob; address: string | null } | null>(null);
  const [isGone, setGone] = useState(false);
  useEffect(() => setGone(false), [blob]);
  if (isGone) return <span class="gone">the file is gone</span>;
  const address = shown?.blob === blob && shown.address ? shown.address : pictureOf(blob);
  const onError = () => {
    if (shown?.blob === blob) {
      setGone(true);
      return;
    }
    setShown({ blob, address: null });
    decoded(blob).then(
      (found) => setShown({ blob, address: found }),
      () => setGone(true),
    );
  };
  return (
    <img
      src={address}
      alt=""
      loading={isLazy ? "lazy" : "eager"}
      decoding="async"
      onError={onError}
    />
  );
}

/** Decode a picture by the program's own means, and keep it as the file's picture. */
async function decoded(blob: Blob): Promise<string> {
  const { decodeImage } = await import("../images/decode");
  const { width, height, rgb } = await decodeImage(blob);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("the browser has no room for the picture");
  const image = context.createImageData(width, height);
  for (let from = 0, to = 0; from < rgb.length; from += 3, to += 4) {
    image.data.set(
      [rgb[from] as number, rgb[from + 1] as number, rgb[from + 2] as number, 255],
      to,
    );
  }
  context.putImageData(image, 0, 0);
  const picture = await canvas.convertToBlob({ type: "image/png" });
  const before = addresses.get(blob);
  if (!before) throw new Error("its smear was removed");
  URL.revokeObjectURL(before);
  const address = URL.createObjectURL(picture);
  addresses.set(blob, address);
  return address;
}

/** Load all pictures on the page that would come only when they are scrolled to. */
export async function loadPictures(): Promise<void> {
  const images = [...document.querySelectorAll<HTMLImageElement>("main img")];
  for (const image of images) image.loading = "eager";
  // One that cannot be decoded is told of in its place.
  await Promise.allSettled(images.map((image) => image.decode()));
}
