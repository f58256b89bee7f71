import type { IncomingMessage } from "node:http";

/** Reads the body of a request as text. @returns `null` if it is too large; bytes after the limit are not kept. */
export async function readBody(request: IncomingMessage, bytesMax: number): Promise<string | null> {
  const parts: Buffer[] = [];
  let size = 0;
  // Node types the chunks of a request as `any`; without an encoding they are always buffers.
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > bytesMax) return null;
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}
