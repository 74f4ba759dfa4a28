/**
 * The errors that a user can act on: the message states the rule, the value, the file and the
 * remedy. Whatever is not one of these is a fault of the program. The same as `cellnet/errors.py`.
 */
export class CellnetError extends Error {
  override name = "CellnetError";
}

/** The bytes cannot be used as an image; the message is the reason, for people. */
export class Refused extends Error {
  override name = "Refused";
}

/** Say what went wrong, in words, whatever was thrown. */
export function told(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error);
}
