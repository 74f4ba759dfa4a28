/**
 * Works without a network: a service worker keeps the page and its models. Its address carries the
 * hash of `integrity.json`, the list of all files, so that whatever is deployed anew, be it a model
 * alone, is a new worker. That one waits until a person asks for it or all pages are closed.
 */

import { sha256 } from "../sha256";

const LIST = "integrity.json";

export class Update {
  /** Whether a newer version is there and waits. */
  isWaiting = false;
  readonly #base: URL;
  readonly #listeners = new Set<() => void>();
  #registration: ServiceWorkerRegistration | null = null;

  constructor(base: URL) {
    this.#base = base;
  }

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /** Register the worker of the version that is deployed now; nothing where there can be none. */
  async start(): Promise<void> {
    if (!("serviceWorker" in navigator)) return;
    try {
      const answer = await fetch(new URL(LIST, this.#base), { cache: "no-cache" });
      // An app without a list can be used, only not without a network.
      if (!answer.ok) return;
      const version = (await sha256(new Uint8Array(await answer.arrayBuffer()))).slice(0, 16);
      const registration = await navigator.serviceWorker.register(
        new URL(`sw.js?version=${version}`, this.#base),
        { scope: this.#base.pathname },
      );
      this.#registration = registration;
      this.#look();
      registration.addEventListener("updatefound", () => {
        registration.installing?.addEventListener("statechange", () => this.#look());
      });
      registration.installing?.addEventListener("statechange", () => this.#look());
      (await navigator.serviceWorker.ready).active?.postMessage("keep the rest");
    } catch (error) {
      // No network and no worker yet, or the browser forbids it; the page works all the same.
      console.info("cellnet does not work offline here:", error);
    }
  }

  /** Let the newer version take over, and load it. */
  apply(): void {
    navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), {
      once: true,
    });
    this.#registration?.waiting?.postMessage("take over");
  }

  #look(): void {
    const isWaiting =
      this.#registration?.waiting != null && navigator.serviceWorker.controller !== null;
    if (isWaiting === this.isWaiting) return;
    this.isWaiting = isWaiting;
    for (const listener of this.#listeners) listener();
  }
}
