/**
 * Takes JSON apart without parsing its values. The text of a document passes on exactly as it was encoded: parsing it
 * would lose the digits of large numbers, and writing it again would cost as much as encoding it did.
 *
 * The text is the service's own and has no white space between its tokens.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const COMMA = 0x2c;

/** The members of a JSON object, each as the text of its value. */
export function membersOf(text: string): ReadonlyMap<string, string> {
  const members = new Map<string, string>();
  let at = 1;
  while (at < text.length - 1) {
    const colon = endOfString(text, at);
    const end = endOfValue(text, colon + 1);
    members.set(JSON.parse(text.slice(at, colon)), text.slice(colon + 1, end));
    at = end + 1;
  }
  return members;
}

/** The elements of a JSON array, each as its text. */
export function elementsOf(text: string): string[] {
  const elements: string[] = [];
  let at = 1;
  while (at < text.length - 1) {
    const end = endOfValue(text, at);
    elements.push(text.slice(at, end));
    at = end + 1;
  }
  return elements;
}

/** The index after the value that begins at `start`: that of a comma or a closing bracket. */
function endOfValue(text: string, start: number): number {
  let depth = 0;
  let at = start;
  while (at < text.length) {
    const char = text.charCodeAt(at);
    if (char === QUOTE) {
      at = endOfString(text, at);
      continue;
    }
    if (char === OPEN_ARRAY || char === OPEN_OBJECT) depth++;
    else if (char === CLOSE_ARRAY || char === CLOSE_OBJECT) depth--;
    if (depth < 0 || (depth === 0 && char === COMMA)) break;
    at++;
  }
  return at;
}

/** The index after the string that begins at `start`. */
function endOfString(text: string, start: number): number {
  let quote = text.indexOf('"', start + 1);
  while (isEscaped(text, quote)) quote = text.indexOf('"', quote + 1);
  return quote + 1;
}

/** Whether an odd number of backslashes precedes the quote. */
function isEscaped(text: string, quote: number): boolean {
  let first = quote;
  while (text.charCodeAt(first - 1) === BACKSLASH) first--;
  return (quote - first) % 2 === 1;
}
