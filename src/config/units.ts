/**
 * Durations and sizes as the file writes them. A number always has a unit: `timeout: 30` has cost people
 * nights, whichever unit they had in mind.
 */
const DURATION_UNITS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const SIZE_UNITS = { B: 1, KiB: 1_024, MiB: 1_048_576, GiB: 1_073_741_824 } as const;

/** The form of durations, for error texts and the JSON Schema. */
export const DURATION = {
  pattern: "^[0-9]+(ms|s|m|h|d)$",
  words: "a duration in whole ms, s, m, h or d, such as 500ms, 60s, 5m, 1h or 1d",
  units: ["s", "m", "h", "d", "ms"],
  ordinary: "s",
  example: "60s",
};
/** The form of sizes, as `DURATION` is that of durations. */
export const SIZE = {
  pattern: "^[0-9]+(B|KiB|MiB|GiB)$",
  words: "a size in whole B, KiB, MiB or GiB (powers of 1024), such as 512B, 64KiB or 1MiB",
  units: ["B", "KiB", "MiB", "GiB"],
  ordinary: "B",
  example: "1MiB",
};

function parseUnit(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d+)([A-Za-z]+)$/.exec(text);
  const unit = match?.[2] ?? "";
  if (match === null || !Object.hasOwn(units, unit)) return undefined;
  const value = Number(match[1]) * (units[unit] ?? Number.NaN);
  return Number.isSafeInteger(value) ? value : undefined;
}

function formatUnit(value: number, units: Readonly<Record<string, number>>): string {
  const [unit, factor] = Object.entries(units).findLast(([, size]) => value !== 0 && value % size === 0) ?? [
    Object.keys(units)[0],
    1,
  ];
  return `${value / factor}${unit}`;
}

/** `5m` → 300000; `undefined` if the text is not a duration. */
export const parseDuration = (text: string): number | undefined => parseUnit(text, DURATION_UNITS);
/** `64KiB` → 65536; `undefined` if the text is not a size. */
export const parseSize = (text: string): number | undefined => parseUnit(text, SIZE_UNITS);
/** 300000 → `5m`, in the largest unit that needs no fraction. */
export const formatDuration = (ms: number): string => formatUnit(ms, DURATION_UNITS);
/** 65536 → `64KiB`. */
export const formatSize = (bytes: number): string => formatUnit(bytes, SIZE_UNITS);
