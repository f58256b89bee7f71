/** [G1 to G5] All at once: what clients hold is what `find` gives under the rights of that moment, whatever happens. */
import { expect, onTestFinished, test } from "vitest";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { Redis } from "../support/redis.ts";
import { Simulation, type SimulationOptions } from "./simulation.ts";

const KINDS: readonly Omit<SimulationOptions, "seed" | "redisUrl">[] = [
  { operations: 28_000, images: "auto", from: "file", stepsDown: false },
  { operations: 24_000, images: "off", from: "file", stepsDown: false },
  { operations: 28_000, images: "auto", from: "database", stepsDown: false },
  { operations: 20_000, images: "auto", from: "file", stepsDown: true },
];

const first = startSeed("simulation");
/** Lets every run read the shared tail (`1`), or none (`0`). Otherwise the seed decides, and the next seed decides the opposite. */
const ONLY = process.env["TIDEWIRE_TAIL"];
const sourceOf = (choice: number) =>
  (ONLY === undefined ? choice % 2 === 1 : ONLY === "1") ? ("tail" as const) : ("mongodb" as const);

const runs = Array.from({ length: FUZZ_FACTOR }, (_, round) =>
  KINDS.map((kind, index) => ({ ...kind, seed: first + round, source: sourceOf(first + round + index) })),
).flat();

test.for(runs)(
  "[G1] clients hold what find gives, in windows, by lookups and as deltas, through edits, refreshes, cuts and kills (seed $seed, images $images, rules from $from, step-downs $stepsDown, read from the $source)",
  async ({ source, ...given }, { skip }) => {
    const redis = source === "tail" ? await Redis.start(skip) : undefined;
    const options = { ...given, redisUrl: redis?.url };
    onTestFinished(({ task }) => {
      if (task.result?.state === "fail")
        console.log(`simulation: failed with TIDEWIRE_SEED=${options.seed}`, JSON.stringify(options));
    });
    const simulation = await Simulation.start(options);
    const counts = await simulation.run();
    console.log(
      `simulation: seed ${options.seed}: ${Object.entries(counts)
        .map(([name, count]) => `${name} ${count}`)
        .join(", ")}`,
    );
    expect(counts["operations"]).toBeGreaterThanOrEqual(options.operations);
    expect(counts["watermark"], "comparisons at watermarks").toBeGreaterThan(20);
    // Nothing but rights and lost history may void what is held; never a cursor that was seen.
    expect(Object.keys(counts).filter((name) => name === "cursor-invalid")).toEqual([]);
  },
);
