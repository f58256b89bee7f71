/** `tidewire types` against a real server: what it writes is what documents are, and what a compiler takes. */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { configFile, runCommand } from "../../support/command.ts";
import { guideFolder } from "../../support/guide.ts";
import { testDatabase } from "../../support/mongod.ts";

async function setUp() {
  const { db, name, uri } = await testDatabase();
  await db.createCollection("orders", {
    validator: {
      $jsonSchema: {
        bsonType: "object",
        required: ["status", "total"],
        properties: {
          status: { enum: ["open", "paid"] },
          total: { bsonType: "int" },
          margin: { bsonType: "int" },
          customerId: { bsonType: "string" },
        },
      },
    },
  });
  await db.collection("orders").insertOne({ status: "open", total: 1, margin: 2, customerId: "u1" });
  await db.collection<{ _id: string }>("users").insertMany([{ _id: "u1", age: 5 } as never, { _id: "u2" }]);
  const path = await configFile({
    mongodb: { uri, database: name },
    auth: { anonymous: true },
    collections: {
      orders: {
        rules: [
          { name: "staff", when: { "%%user.roles": { $in: ["admin"] } } },
          { name: "customer", filter: { customerId: "%%user.sub" }, fields: { exclude: ["margin"] } },
        ],
      },
      people: { collection: "users", rules: [{ name: "customer" }] },
      tallies: { collection: "users", rules: [{ name: "customer", allow: { documents: false } }] },
    },
  });
  const { folder, remove } = await guideFolder();
  onTestFinished(remove);
  const run = (...args: string[]) => runCommand(["types", "-c", path, ...args], { now: () => 0 });
  return { db, run, folder, out: join(folder, "tidewire.ts") };
}

test("writes one type for each collection and role, from the validator or a marked sample", async () => {
  const { run } = await setUp();
  const { code, out, err } = await run("--role", "customer");
  expect(code).toBe(0);
  expect(out).toBe(
    `// Written by \`tidewire types\` for the value mode "json". To change it, change the validators or the rules, and run it again.

/** The documents of \`orders\` as the rule \`customer\` shows them. From its validator. */
export interface CustomerOrders {
  _id: string;
  status: "open" | "paid";
  total: number;
  customerId?: string;
}

/** The documents of \`people\` as the rule \`customer\` shows them. From a sample of 2 documents, which proves nothing about the others. */
export interface CustomerPeople {
  _id: string;
  age?: number;
}

/** The collections of the rule \`customer\`: createClient<CustomerSchema>(…). */
export interface CustomerSchema {
  orders: CustomerOrders;
  people: CustomerPeople;
}
`.trimEnd(),
  );
  expect(err).toContain("people: from a sample of 2 documents");
  const all = await run();
  expect(all.out.match(/interface \w+Schema/g)).toEqual([
    "interface StaffSchema",
    "interface CustomerSchema",
  ]);
  expect(all.out).toContain("margin?: number;");
});

test("--check fails when the database has changed, and says where", async () => {
  const { db, run, out } = await setUp();
  expect((await run("--role", "customer", "--out", out, "--check")).code).toBe(1);
  expect((await run("--role", "customer", "--out", out)).code).toBe(0);
  expect(await run("--role", "customer", "--out", out, "--check")).toMatchObject({
    code: 0,
    out: expect.stringContaining("up to date"),
  });
  await db.command({
    collMod: "orders",
    validator: { $jsonSchema: { properties: { status: { bsonType: "int" } } } },
  });
  const { code, err } = await run("--role", "customer", "--out", out, "--check");
  expect([code, err]).toEqual([1, expect.stringContaining("status?: number;")]);
});

test("a validator that only warns is no proof, so the documents are sampled", async () => {
  const { db, run } = await setUp();
  await db.command({ collMod: "orders", validationAction: "warn" });
  const { out } = await run("--role", "customer");
  expect(out).toContain(
    "sample of 1 documents, which proves nothing about the others; its validator is not enforced for all documents",
  );
});

test("mistakes in the flags are named", async () => {
  const { run } = await setUp();
  expect(await run("--role", "custmer")).toMatchObject({
    code: 2,
    err: expect.stringContaining("Names: staff, customer"),
  });
  expect(await run("--values", "bson")).toMatchObject({
    code: 2,
    err: expect.stringContaining("json, ejson, native"),
  });
  expect(await run("--sample", "0")).toMatchObject({ code: 2, err: expect.stringContaining("1 to 100000") });
  expect(await run("--check")).toMatchObject({ code: 2, err: expect.stringContaining("--out") });
});

const IDS: Record<string, string> = { json: "string", ejson: "{ $oid: string }", native: "ObjectId" };

test.each([["json"], ["ejson"], ["native"]])(
  "a compiler takes the types for createClient, in the mode %s",
  async (values) => {
    const { run, folder, out } = await setUp();
    await run("--values", values, "--out", out);
    const code = `
import { createClient, sum } from "tidewire/client";
import { native, type ObjectId } from "tidewire/client/native";
import type { CustomerSchema } from "./tidewire.js";
const client = createClient<CustomerSchema>({ url: "https://live.example.com", values: ${values === "native" ? "native" : `"${values}"`} });
const open = client.collection("orders").find({ status: "open", total: { $gt: 5 } }).sort("total", -1);
export const id: ${IDS[values]} = open.getState().data[0]!._id;
client.collection("orders").find({ _id: id });
export const unused: ObjectId | typeof native | undefined = undefined;
export const byStatus: "open" | "paid" | null = open.getState().data.length > 0 ? client.collection("orders").find().groupBy("status").values({ total: sum("total") }).getState().data[0]!._id : null;
// @ts-expect-error hidden by the rule
client.collection("orders").find({ margin: 5 });
// @ts-expect-error no such value
client.collection("orders").find({ status: "late" });
// @ts-expect-error no rule of this name
client.collection("secrets");
`;
    await writeFile(join(folder, "use.ts"), code);
    const config = {
      extends: join(ROOT, "tsconfig.json"),
      compilerOptions: { noEmit: true, rootDir: ROOT, lib: ["ES2023", "DOM"] },
      include: ["."],
      exclude: [],
    };
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify(config));
    const tsc = join(ROOT, "node_modules", ".bin", "tsc");
    const { stdout } = await promisify(execFile)(tsc, ["-p", folder]).catch((error) => error);
    expect(stdout).toBe("");
    expect(await readFile(out, "utf8")).toContain("CustomerSchema");
  },
);
