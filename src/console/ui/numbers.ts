/** A number with its unit: `1 connection`, `12,000 connections`. */
export const count = (amount: number, one: string, many = `${one}s`): string =>
  `${amount.toLocaleString("en")} ${amount === 1 ? one : many}`;

const STEPS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Bytes with three digits at most: `0 B`, `1.5 KiB`, `200 MiB`. */
export function bytes(amount: number): string {
  let value = amount;
  let step = 0;
  while (value >= 999.5 && step < STEPS.length - 1) {
    value /= 1_024;
    step += 1;
  }
  return `${digits(value)} ${STEPS[step]}`;
}

const digits = (value: number): string =>
  Number.isInteger(value) || value >= 100 ? value.toFixed(0) : value.toFixed(1);

/** A duration in the largest unit that says enough: `12 ms`, `3.4 s`, `5 min`, `2 h`, `4 d`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${digits(ms / 1_000)} s`;
  if (ms < 3_600_000) return `${Math.floor(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${digits(Math.floor(ms / 360_000) / 10)} h`;
  return `${Math.floor(ms / 86_400_000)} d`;
}

/** A short time between two steps: `0.08 ms`, `1.4 ms`, `12 ms`, `3.4 s`. */
export function lag(ms: number): string {
  if (ms >= 100) return duration(ms);
  return `${ms >= 10 ? Math.round(ms) : Number(ms.toPrecision(2))} ms`;
}

/** A rate: `0.2/s`, `1,250/s`. */
export const rate = (perSecond: number): string =>
  `${perSecond >= 100 ? Math.round(perSecond).toLocaleString("en") : digits(Math.round(perSecond * 10) / 10)}/s`;
