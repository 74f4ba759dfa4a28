/**
 * Exact (Clopper-Pearson) intervals of a proportion, by the same arithmetic as
 * `cellnet/intervals.py`, so that both programs give the same digits.
 *
 * Written here rather than taken from a library: the one that is kept up brings 223 packages and
 * 43 kB (compressed) for these two numbers. The tests hold it to SciPy's values.
 */

const TINY = 1e-300;

/** Logarithm of the gamma function for x > 0: Stirling's series, shifted to where it is exact. */
function logGamma(x: number): number {
  let shift = 0;
  let at = x;
  while (at < 15) {
    shift += Math.log(at);
    at += 1;
  }
  const inverse = 1 / (at * at);
  // The coefficients are B(2k) / (2k (2k - 1)), Bernoulli's numbers.
  const series =
    (1 / 12 -
      inverse *
        (1 / 360 -
          inverse *
            (1 / 1260 -
              inverse *
                (1 / 1680 - inverse * (1 / 1188 - inverse * (691 / 360360 - inverse / 156)))))) /
    at;
  return (at - 0.5) * Math.log(at) - at + 0.5 * Math.log(2 * Math.PI) + series - shift;
}

/** Regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22). */
function betaCdf(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - betaCdf(1 - x, b, a);
  const logFront =
    logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x);
  const away = (value: number) => (Math.abs(value) > TINY ? value : TINY);
  let c = 1;
  let d = 1 / Math.max(Math.abs(1 - ((a + b) * x) / (a + 1)), TINY);
  let fraction = d;
  for (let m = 1; m < 100_000; m += 1) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / away(1 + even * d);
    c = away(1 + even / c);
    fraction *= c * d;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / away(1 + odd * d);
    c = away(1 + odd / c);
    const step = c * d;
    fraction *= step;
    if (Math.abs(step - 1) < 1e-15) break;
  }
  return (Math.exp(logFront) * fraction) / a;
}

/** The x with I_x(a, b) = p: Newton's steps, kept inside a shrinking bracket. */
function betaQuantile(p: number, a: number, b: number): number {
  const logNorm = logGamma(a + b) - logGamma(a) - logGamma(b);
  let low = 0;
  let high = 1;
  let x = a / (a + b);
  for (let round = 0; round < 200; round += 1) {
    const error = betaCdf(x, a, b) - p;
    if (error > 0) high = x;
    else low = x;
    const logDensity = logNorm + (a - 1) * Math.log(x) + (b - 1) * Math.log1p(-x);
    let following = x - (logDensity > -600 ? error * Math.exp(-logDensity) : Infinity);
    if (!(low < following && following < high)) following = 0.5 * (low + high);
    const isDone = following === low || following === high;
    if (isDone || Math.abs(following - x) <= 1e-15 * x) return following;
    x = following;
  }
  return x;
}

/**
 * Exact interval of a proportion.
 *
 * @param k how many of the `n` items count, 0 <= k <= n.
 * @param n number of items, more than 0.
 * @param level confidence level in (0, 1).
 * @returns lower and upper end; exactly 0 below where k = 0, exactly 1 above where k = n.
 * @throws RangeError where k, n or the level is outside its range: of no items nothing is known.
 */
export function clopperPearson(k: number, n: number, level = 0.95): [number, number] {
  if (!(Number.isFinite(n) && n > 0)) {
    throw new RangeError(`n must be more than 0, got n=${n}: of no items there is no interval`);
  }
  if (!(k >= 0 && k <= n)) throw new RangeError(`k must lie between 0 and n, got k=${k}, n=${n}`);
  if (!(level > 0 && level < 1)) {
    throw new RangeError(`level must lie between 0 and 1, got ${level}`);
  }
  const tail = (1 - level) / 2;
  const low = k === 0 ? 0 : betaQuantile(tail, k, n - k + 1);
  const high = k === n ? 1 : betaQuantile(1 - tail, k + 1, n - k);
  return [low, high];
}
