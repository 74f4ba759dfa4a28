/** Numbers and foreign text put into words, digit for digit as Python puts them. */

/**
 * Write a number with a fixed count of decimals, ties to even, as Python's `f"{value:.2f}"` does.
 * `toFixed` alone rounds a tie up: 0.125 would become 0.13.
 */
export function fixed(value: number, digits: number): string {
  if (Object.is(value, -0)) return `-${(0).toFixed(digits)}`;
  const rounded = value.toFixed(digits);
  if (Math.abs(value) >= 1e15) return rounded;
  // A double that is no tie shows it within 60 decimals.
  const exact = value.toFixed(60);
  const cut = exact.length - 60 + digits - (digits === 0 ? 1 : 0);
  const rest = exact.slice(exact.length - 60 + digits);
  if (!/^50*$/.test(rest)) return rounded;
  const down = exact.slice(0, cut);
  return Number(down.at(-1)) % 2 === 0 ? down : rounded;
}

/** Write a share with one decimal, such as `12.3 %`. */
export function percent(share: number): string {
  return `${fixed(100 * share, 1)} %`;
}

/** Write a share without decimals, such as `12%`, as it stands in a warning. */
export function roundPercent(share: number): string {
  return `${fixed(100 * share, 0)}%`;
}

/** Write a float as Python's `repr` does: `1.0`, `1e-05`. */
export function pythonFloat(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e16) {
    return Object.is(value, -0) ? "-0.0" : `${value}.0`;
  }
  const size = Math.abs(value);
  if (size >= 1e-4 && size < 1e16) return String(value);
  const [digits, exponent = "0"] = value.toExponential().split("e");
  const sign = exponent.startsWith("-") ? "-" : "+";
  return `${digits}e${sign}${exponent.replace(/^[+-]/, "").padStart(2, "0")}`;
}

/** Write a number with up to six digits that count, as Python's `f"{value:.6g}"` does. */
export function sixDigits(value: number): string {
  if (value === 0) return "0";
  const exponent = Number(value.toExponential(5).split("e")[1]);
  if (exponent < -4 || exponent >= 6) {
    const [digits = "", power = "0"] = value.toExponential(5).split("e");
    const sign = power.startsWith("-") ? "-" : "+";
    const shown = digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
    return `${shown}e${sign}${power.replace(/^[+-]/, "").padStart(2, "0")}`;
  }
  const shown = fixed(value, 5 - exponent);
  return shown.includes(".") ? shown.replace(/\.?0+$/, "") : shown;
}

/** Say how many there are of something: `1 cell`, `2 cells`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

/** Name the first few of many. */
export function some(names: readonly string[], most = 3): string {
  const more = names.length - most;
  return names.slice(0, most).join(", ") + (more > 0 ? `, and ${more} more` : "");
}

/** Write a day as this computer's calendar has it: `2025-01-31`. */
export function localDay(milliseconds: number): string {
  const date = new Date(milliseconds);
  const two = (number: number) => String(number).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** Begin a text with a capital. */
export function upperFirst(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`;
}

/** Replace control characters, line ends among them, and halves of surrogate pairs. */
export function printable(text: string): string {
  return text.replace(/[\p{C}\p{Z}]/gu, (mark) => (mark === " " ? mark : "\uFFFD"));
}

/** Make foreign text safe for a spreadsheet, which runs what begins like a formula. */
export function safeCell(text: string): string {
  const clean = printable(text);
  return /^\s*[=+\-@]/.test(clean) ? `'${clean}` : clean;
}

/** Order names as Python orders them: by code points, not by UTF-16 units. */
export function byName(one: string, other: string): number {
  const mine = one[Symbol.iterator]();
  const theirs = other[Symbol.iterator]();
  for (;;) {
    const a = mine.next();
    const b = theirs.next();
    if (a.done || b.done) return (a.done ? 0 : 1) - (b.done ? 0 : 1);
    const difference = (a.value.codePointAt(0) ?? 0) - (b.value.codePointAt(0) ?? 0);
    if (difference !== 0) return difference;
  }
}
