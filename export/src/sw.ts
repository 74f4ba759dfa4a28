/**
 * The service worker: keeps the page, its WebAssembly and its models, so that they come without a
 * network. What it keeps is what `integrity.json` lists, checked by size and SHA-256; a file that
 * differs ends the installation, and the version before goes on. It imports nothing: every browser
 * takes it as a plain script.
 */

const scope = self as unknown as ServiceWorkerGlobalScope;

type Entry = { readonly path: string; readonly bytes: number; readonly sha256: string };

const LIST = "integrity.json";
const PAGE = "index.html";
const VERSION = new URL(scope.location.href).searchParams.get("version") ?? "";
const PREFIX = `cellnet ${scope.registration.scope} `;
const CACHE = PREFIX + VERSION;
const HASH = "x-cellnet-sha256";

/**
 * Without these the page is none: itself, and the models as they are shipped. A page that comes from
 * here is isolated, and never asks for LiteRT's program without threads.
 */
const FIRST = /^(?!models\/|assets\/litert_wasm_internal)|^models\/[^/]+\/bundle\//;

/** These come after: the models as graphs, for graphics processors and activation maps. */
const LATER = /^models\/[^/]+\/tfjs\//;

/** Without these a page gets no shared memory, and WebAssembly no threads. */
const ISOLATED = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

/** These tell how a body came through the network; it is kept as it was meant. */
const OF_THE_NETWORK = ["content-encoding", "content-length", "transfer-encoding", "vary"];

/** Files fetched at a time. */
const AT_ONCE = 4;

scope.addEventListener("install", (event) => event.waitUntil(install()));

scope.addEventListener("activate", (event) => event.waitUntil(activate()));

scope.addEventListener("message", (event) => {
  if (event.data === "take over") event.waitUntil(scope.skipWaiting());
  if (event.data === "keep the rest") event.waitUntil(keepAll(LATER));
});

scope.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = pathOf(request.url);
  if (request.method !== "GET" || path === null) return;
  if (path === LIST) event.respondWith(listFirst(request));
  else event.respondWith(answer(request, path));
});

async function install(): Promise<void> {
  const response = await fetch(addressOf(LIST), { cache: "no-cache" });
  const bytes = await response.arrayBuffer();
  if (!response.ok || !(await hash(bytes)).startsWith(VERSION)) {
    throw new Error(`${LIST} is not of version ${VERSION}; another one is being deployed`);
  }
  const cache = await caches.open(CACHE);
  await cache.put(addressOf(LIST), new Response(bytes, headersOf(response, "")));
  await keepAll(FIRST);
}

/** Keep all files of a kind that the list names. */
async function keepAll(kind: RegExp): Promise<void> {
  const cache = await caches.open(CACHE);
  const list = await cache.match(addressOf(LIST));
  if (!list) throw new Error(`${LIST} was not kept`);
  const { files } = (await list.json()) as { files: Entry[] };
  const left = files.filter(({ path }) => kind.test(path));
  const workers = Array.from({ length: AT_ONCE }, async () => {
    for (let entry = left.pop(); entry; entry = left.pop()) await keep(cache, entry);
  });
  await Promise.all(workers);
}

/** Keep a file: from an older version's cache where it is the same, else from the network. */
async function keep(cache: Cache, { path, bytes, sha256 }: Entry): Promise<void> {
  const address = addressOf(path);
  for (const name of await ours()) {
    const known = await (await caches.open(name)).match(address);
    if (known?.headers.get(HASH) === sha256) {
      await cache.put(address, known);
      return;
    }
  }
  const response = await fetch(address, { cache: "no-cache" });
  const body = await response.arrayBuffer();
  if (!response.ok || body.byteLength !== bytes || (await hash(body)) !== sha256) {
    throw new Error(`${path} is not what ${LIST} says`);
  }
  await cache.put(address, new Response(body, headersOf(response, sha256)));
}

async function activate(): Promise<void> {
  for (const name of await ours()) if (name !== CACHE) await caches.delete(name);
  await scope.clients.claim();
}

/** The list tells what is deployed now, where there is a network. */
async function listFirst(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (error) {
    const kept = await (await caches.open(CACHE)).match(addressOf(LIST));
    if (kept) return kept;
    throw error;
  }
}

async function answer(request: Request, path: string): Promise<Response> {
  const kept = await (await caches.open(CACHE)).match(addressOf(path === "" ? PAGE : path));
  return kept ?? fetch(request);
}

/** A path below the page's folder; null for whatever lies elsewhere. */
function pathOf(url: string): string | null {
  const { origin, pathname } = new URL(url);
  const base = new URL(scope.registration.scope);
  if (origin !== base.origin || !pathname.startsWith(base.pathname)) return null;
  return decodeURIComponent(pathname.slice(base.pathname.length));
}

function addressOf(path: string): string {
  return new URL(path.split("/").map(encodeURIComponent).join("/"), scope.registration.scope).href;
}

function headersOf(response: Response, sha256: string): ResponseInit {
  const headers = new Headers(response.headers);
  for (const name of OF_THE_NETWORK) headers.delete(name);
  for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
  headers.set(HASH, sha256);
  return { headers };
}

async function ours(): Promise<string[]> {
  return (await caches.keys()).filter((name) => name.startsWith(PREFIX));
}

async function hash(data: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export {};
