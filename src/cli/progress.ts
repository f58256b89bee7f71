import type { Io } from "../terminal/io.ts";

/** A shorter wait needs no explanation. */
const FIRST_NOTE_MS = 2_000;
const NEXT_NOTE_MS = 5_000;

/** Waits for a step. If that takes longer than two seconds, names the step on standard error. */
export async function withProgress<T>(io: Pick<Io, "err">, step: string, work: Promise<T>): Promise<T> {
  const startedAtMs = performance.now();
  const note = () => io.err(`-- ${step} (${Math.round((performance.now() - startedAtMs) / 1_000)} s)`);
  let next: NodeJS.Timeout | undefined;
  const first = setTimeout(() => {
    note();
    next = setInterval(note, NEXT_NOTE_MS);
  }, FIRST_NOTE_MS);
  try {
    return await work;
  } finally {
    clearTimeout(first);
    clearInterval(next);
  }
}
