/** Places to come back to that need the service's own keys to be made: for every transport. */
import { expect } from "vitest";
import { AFTER, BEFORE } from "../../../src/feed/cursor.ts";
import { fromTimestamp } from "../../../src/source/cluster-time.ts";
import { forgeOf } from "../forge.ts";
import { brief, briefly, type Scenario } from "../scenario.ts";

export const PLACES: readonly Scenario[] = [
  {
    name: "[8] a cursor of the future is cursor-invalid, not waited for",
    async run(world) {
      const first = await world.follow({ sub: world.me }, { collection: "notes" });
      await first.settle();
      const forge = await forgeOf(world.service);
      const { ticket } = first.place;
      const now = fromTimestamp(await world.now());
      for (const ahead of [3_600n << 32n, 0x4000_0000n << 32n]) {
        for (const within of [BEFORE, 12_345, AFTER]) {
          const cursor = forge.cursor({ clusterTime: now + ahead, within });
          const again = await world.follow({ sub: world.me }, { collection: "notes", cursor, ticket });
          expect(brief(again.answer)).toEqual(["subscribed", "reset", "cursor-invalid"]);
          await again.leave();
        }
      }
    },
  },
  {
    name: "[3.3] resumes out of the oplog where the history of this node does not reach back",
    async run(world) {
      const first = await world.follow({ sub: world.me }, { collection: "notes" });
      await first.settle();
      await first.leave();
      await world.notes.insertOne({ _id: `${world.me}/1`, owner: world.me });
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { secret: "hidden" } });
      await world.notes.updateOne({ _id: `${world.me}/1` }, { $set: { n: 1 } });
      // More than `history.bytes`.
      const pad = "x".repeat(100_000);
      for (let n = 0; n < 12; n++) {
        await world.notes.insertOne({ _id: `${world.me}-other/${n}`, owner: `${world.me}-other`, pad });
      }
      const other = await world.follow(
        { sub: `${world.me}-other` },
        { collection: "notes", snapshot: false },
      );
      await other.settle();
      const again = await world.follow({ sub: world.me }, { collection: "notes", ...first.place });
      await again.settle();
      expect(briefly(again.received)).toEqual([
        ["subscribed", "resumed"],
        ["added", "insert", { _id: `${world.me}/1`, owner: world.me }],
        ["changed", "update", { _id: `${world.me}/1`, owner: world.me, n: 1 }],
      ]);
    },
  },
];
