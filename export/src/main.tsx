/** Where the page begins. */

import { render } from "preact";
import { CellReader } from "./engine/client";
import { Store } from "./store";
import { App } from "./ui/app";
import { Update } from "./ui/offline";
import { Session } from "./ui/session";
import type { Smear } from "./ui/smear";

const base = new URL("./", document.baseURI);
const session = new Session((onProgress) => CellReader.open(base, onProgress), new Store<Smear>());
const update = new Update(base);
const root = document.getElementById("app");
if (!root) throw new Error("index.html has no #app");
render(<App session={session} update={update} />, root);
await session.start();
// What the models need comes first; the service worker then finds it in the browser's cache.
await session.settled();
if (import.meta.env.PROD) await update.start();
