/** The key that does the same as the button it stands in; a screen reader says the button alone. */
export function Hint({ of }: { of: string }) {
  return <kbd aria-hidden="true">{of}</kbd>;
}
