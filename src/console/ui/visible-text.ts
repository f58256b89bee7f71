/** Characters that no font shows. Some of them change the direction of the text that follows. */
const HIDDEN = /(?![\n\t])[\p{Cc}\p{Cf}]/gu;

/** A text in which hidden characters are named, because with them a rule reads otherwise than it means. */
export const visibleText = (text: string): string => text.replace(HIDDEN, (hidden) => `[U+${hexOf(hidden)}]`);

const hexOf = (character: string): string =>
  (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
