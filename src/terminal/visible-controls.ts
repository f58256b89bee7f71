/** Terminals take some of these characters for commands (ECMA-48, C1), and JSON leaves them in a text as they are. */
const C1 = /[\u0080-\u009f]/g;

/**
 * A text for a terminal, with escapes in place of the control characters that JSON does not escape. Documents come from users, and
 * must not be able to command the terminal of an admin. JSON has the same value before and after.
 */
export const withVisibleControls = (text: string): string =>
  text.replace(C1, (character) => `\\u00${character.charCodeAt(0).toString(16)}`);
