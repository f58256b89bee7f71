/** Remedies for the answers of a broker: a part of the text, and the action of an admin. */
export type Remedies = readonly (readonly [part: RegExp, remedy: string])[];

/** The longest text of a broker in a reason, in characters. */
const SAID_MAX = 500;

/**
 * The reason why a broker has not taken a message, for the log, for parked messages and for `tidewire sinks`.
 * @param said The text of the broker, without secrets.
 */
export function sayReason(broker: string, said: string, remedies: Remedies): string {
  const text = said.slice(0, SAID_MAX).replace(/[\s.]+$/, "");
  const remedy = remedies.find(([part]) => part.test(text))?.[1];
  return remedy === undefined ? `${broker}: ${text}` : `${broker}: ${text}. ${remedy}`;
}

/** The size of the largest message of a batch, in bytes, for the remedy of one that is too large. */
export const largestBytes = (messages: readonly { readonly event: object }[]): number =>
  Math.max(...messages.map(({ event }) => Buffer.byteLength(JSON.stringify(event))));
