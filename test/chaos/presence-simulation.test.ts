/** Presence by a model of each member, whatever happens to members and nodes. */
import { expect, onTestFinished, test } from "vitest";
import { FUZZ_FACTOR, startSeed } from "../property/seed.ts";
import { PresenceSimulation } from "./presence-simulation.ts";

const first = startSeed("presence simulation");

test.for(Array.from({ length: FUZZ_FACTOR }, (_, round) => first + round))(
  "exactly the members who are in the room are visible in the end, and none was seen to leave who was away for less than the ttl, whatever happens to nodes and leases (seed %i)",
  async (seed) => {
    onTestFinished(({ task }) => {
      if (task.result?.state === "fail")
        console.log(`presence simulation: failed with TIDEWIRE_SEED=${seed}`);
    });
    const options = { seed, members: 24, ttlMs: 4_000, troubleMs: 10_000 };
    const simulation = await PresenceSimulation.start(options);
    const counts = await simulation.run();
    console.log(`presence simulation: seed ${seed}: ${JSON.stringify(counts)}`);
    expect(counts["entered"]).toBeGreaterThan(options.members);
    expect(counts["kills"]).toBeGreaterThan(1);
    expect(counts["stops"]).toBeGreaterThan(0);
  },
);
