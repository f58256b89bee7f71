/** A time of the code as the API writes it. */
export const timeOf = (ms: number): string => new Date(ms).toISOString();

/** The same for a time that may be missing. */
export const timeOrNull = (ms: number | null): string | null => (ms === null ? null : timeOf(ms));
