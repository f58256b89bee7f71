import type { SendResult, SinkMessage } from "../target.ts";

/** Sends some messages as one batch, which the receiver takes or refuses as a whole. */
export type SendAll = (messages: readonly SinkMessage[]) => Promise<SendResult>;

/**
 * Sends a batch. If the receiver refuses it, each message is sent by itself, because one message that the receiver does
 * not take must not hold up the others.
 * @returns One result for each message.
 */
export async function sendApart(
  messages: readonly SinkMessage[],
  sendAll: SendAll,
): Promise<readonly SendResult[]> {
  if (messages.length === 0) return [];
  const together = await sendAll(messages);
  if (together.kind !== "refused" || messages.length === 1) return messages.map(() => together);
  const results: SendResult[] = [];
  const refusedKeys = new Set<string>();
  let end: SendResult | undefined;
  for (const message of messages) {
    const result = end ?? (refusedKeys.has(message.key) ? EARLIER_REFUSED : await sendAll([message]));
    results.push(result);
    if (result.kind === "refused") refusedKeys.add(message.key);
    else if (result.kind !== "accepted") end = result;
  }
  return results;
}

/** A later change of the same document must not overtake the refused one. */
const EARLIER_REFUSED: SendResult = {
  kind: "refused",
  reason: "not sent, because an earlier message with the same key was refused",
};
