/** A number with its noun, such as `1 document` or `2 documents`. Limits and counts may be 1. */
export const amount = (number: number, one: string, many = `${one}s`): string =>
  `${number} ${number === 1 ? one : many}`;
