import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { copyable } from "../../../src/sinks/copyable.ts";
import { newParcel } from "../../../src/sinks/courier.ts";
import { sinkMessage } from "../../support/sink-messages.ts";

test("no later message of an _id is copied past one that the state database cannot hold", () => {
  const large = { text: randomBytes(17 * 1_048_576).toString("base64") };
  const messages = [
    sinkMessage("1", "a"),
    sinkMessage("2", "b", large),
    sinkMessage("3", "b"),
    sinkMessage("4", "a"),
  ];
  const parcels = messages.map((message, index) => newParcel(index, message, 0));
  expect(copyable(parcels).map(({ message }) => message.id)).toEqual(["1", "4"]);
  expect(parcels[1]?.isStorable).toBe(false);
});
