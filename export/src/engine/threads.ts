/** How many threads WebAssembly may use. */

/** TensorFlow.js's program makes room for so many. */
const MOST = 8;

/**
 * Say how many threads to run: two cores of most processors share one calculating unit, so half of
 * them, but both of two. One where the page is not isolated, since threads need shared memory.
 */
export function usableThreads(): number {
  const cores = navigator.hardwareConcurrency || 1;
  return globalThis.crossOriginIsolated ? Math.min(cores, Math.max(2, cores >> 1), MOST) : 1;
}

/** `2 threads` */
export function toldThreads(threads: number): string {
  return `${threads} ${threads === 1 ? "thread" : "threads"}`;
}
