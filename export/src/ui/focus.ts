/** Where the focus goes when what had it is gone. */

/**
 * Do something after which what has the focus may be gone. A browser then puts the focus on nothing,
 * and a keyboard begins at the top again; here it goes to the page's heading.
 */
export function keepingFocus(action: () => void): void {
  const hadFocus = isFocused();
  action();
  requestAnimationFrame(() => {
    if (hadFocus && !isFocused()) document.querySelector<HTMLElement>("main h1")?.focus();
  });
}

function isFocused(): boolean {
  const { activeElement } = document;
  return activeElement !== null && activeElement !== document.body;
}
