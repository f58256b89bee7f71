/** Colours a text, or leaves it as it is. */
export type Paint = Readonly<Record<keyof typeof CODES, (text: string) => string>>;

/** SGR parameters (ECMA-48): those that every terminal has. */
const CODES = { bold: 1, dim: 2, reverse: 7, red: 31, green: 32, yellow: 33, cyan: 36 } as const;

/** Functions that colour text, or that return it unchanged where `colour` is `false`. */
export function paintWith(colour: boolean): Paint {
  const entries = Object.entries(CODES).map(([name, code]) => {
    const paint = (text: string) => (colour ? `\x1b[${code}m${text}\x1b[0m` : text);
    return [name, paint];
  });
  // `fromEntries` forgets the keys; they are those of the table.
  return Object.fromEntries(entries) as Paint;
}
