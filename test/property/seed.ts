/** A new seed for every run, printed, and repeatable by `TIDEWIRE_SEED`; `TIDEWIRE_FUZZ` makes runs longer. */
export function startSeed(what: string): number {
  const seed = Number(process.env["TIDEWIRE_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`${what}: TIDEWIRE_SEED=${seed}`);
  return seed;
}

/** How many times longer than in CI. */
export const FUZZ_FACTOR = Number(process.env["TIDEWIRE_FUZZ"] ?? 1);
