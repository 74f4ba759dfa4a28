/** One line for each check; what was seen where one fails. */

import assert from "node:assert/strict";

export { assert };

export class Checks {
  failed = 0;
  passed = 0;

  /** Run a check, and go on whatever comes of it; answers whether it passed. */
  async check(name, run) {
    const start = performance.now();
    try {
      const told = await run();
      const time = ((performance.now() - start) / 1000).toFixed(1);
      this.passed += 1;
      console.log(`ok      ${name}${told ? `: ${told}` : ""} (${time} s)`);
      return true;
    } catch (error) {
      this.failed += 1;
      const text = error instanceof Error ? error.message : String(error);
      console.log(`FAILED  ${name}\n        ${text.split("\n").join("\n        ")}`);
      return false;
    }
  }
}

/** Ask until it holds; how long it may take is generous, since computers are busy. */
export async function until(holds, what, seconds = 60) {
  const end = Date.now() + 1000 * seconds;
  for (;;) {
    const seen = await holds();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`${what}: not within ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
