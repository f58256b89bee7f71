import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { insertRaw } from "../../support/raw-insert.ts";
import { startTestService } from "../../support/service.ts";

const ITEMS = { items: { rules: [{ name: "everybody" }] } };

/** The server's error text quotes the document, so it may contain text that is not UTF-8. */
function withBrokenText(document: Record<string, unknown>): Uint8Array {
  const bytes = Buffer.from(BSON.serialize(document));
  bytes[bytes.indexOf("broken")] = 0xff;
  return bytes;
}

test.each([
  ["two of whose paths hold arrays in one document", { a: [1], b: [2] }, ["a", "b"]],
  ["by what is an index and a field at once", { a: [{ 0: "broken" }] }, ["a.0"]],
])("[5] a sort %s is bad-filter, and not tried again", async (_name, document, paths) => {
  const { connect, name, uri, service } = await startTestService({ collections: ITEMS });
  await insertRaw(uri, name, "items", [withBrokenText({ _id: 1, ...document, text: "broken" })]);
  const client = await connect({ sub: "u1" });
  const sort = paths.map((path) => [path, 1]);
  const answer = await client.ask({ type: "subscribe", id: "a", collection: "items", sort });
  expect(answer).toMatchObject({ type: "error", id: "a", code: "bad-filter", retry: "never" });
  expect(JSON.stringify(answer), "nothing of the document").not.toMatch(/broken|\ufffd|roken/);
  const reads = await service.metrics.registry.getSingleMetricAsString("tidewire_snapshot_read_seconds");
  expect(reads).toMatch(/^tidewire_snapshot_read_seconds_count 1$/m);
});
