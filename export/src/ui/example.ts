/** The drawn example: cells that no patient ever had, put beside the app when it is built. */

import { CellnetError } from "../errors";

/** Names of the example's images; none where the app was built without it. */
declare const EXAMPLE_FILES: readonly string[];

export const hasExample = EXAMPLE_FILES.length > 0;

const FOLDER = "drawn example";

/** Fetch the example as if it had been chosen from a disk. */
export async function exampleFiles(): Promise<readonly File[]> {
  return Promise.all(
    EXAMPLE_FILES.map(async (name) => {
      const response = await fetch(new URL(`example/${name}`, document.baseURI));
      if (!response.ok) {
        throw new CellnetError(
          `the drawn example cannot be fetched (${response.status}); choose images of your own`,
        );
      }
      const file = new File([await response.blob()], name, { type: "image/jpeg" });
      Object.defineProperty(file, "webkitRelativePath", { value: `${FOLDER}/${name}` });
      return file;
    }),
  );
}
