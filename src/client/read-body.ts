/**
 * Reads a body as text, piece by piece.
 * @param onHeard Called for every piece.
 */
export async function* readText(
  body: ReadableStream<Uint8Array> | null,
  onHeard: () => void,
): AsyncGenerator<string> {
  if (body === null) return;
  const reader = body.getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onHeard();
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    await reader.cancel().catch(() => {}); // a body that has ended or was aborted cannot be cancelled
  }
}

/**
 * Reads the `data` of server-sent events (HTML standard, 9.2), as far as the service uses them: one line of data each.
 */
export async function* eventData(texts: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of texts) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) yield line.slice("data: ".length);
  }
}
