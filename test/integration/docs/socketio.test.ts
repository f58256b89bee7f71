/** The client of docs/socketio.md, run as it stands there, while the service is killed. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { ask } from "../../support/http-client.ts";
import { testDatabase } from "../../support/mongod.ts";
import { Program } from "../../support/program.ts";
import { signToken, testConfig } from "../../support/service.ts";
import { type ServiceConfig, spawnService } from "../../support/spawn-service.ts";

const PATIENCE = { timeout: 60_000, interval: 50 };

/** The part that the page leaves to the application. */
const YOURS = `
const fetchToken = async () => process.env.TOKEN;
const show = (orders) => console.log(JSON.stringify({ type: "shown", orders }));
`;

async function exampleAt(url: string): Promise<string> {
  const page = await readFile(join(ROOT, "docs", "socketio.md"), "utf8");
  const [, code = ""] = /```js\n([\s\S]*?)```/.exec(page) ?? [];
  expect(code).toContain("https://live.example.com/shop");
  // Beside what it imports.
  const directory = join(ROOT, "node_modules", ".cache", "tidewire-examples");
  await mkdir(directory, { recursive: true });
  const file = join(directory, `socketio-${process.pid}.mjs`);
  await writeFile(file, code.replace("https://live.example.com/shop", url) + YOURS);
  return file;
}

test("[G2] the page's client loses nothing while the service is killed and started again", async () => {
  const { client, db, name, uri } = await testDatabase();
  const rules = [{ name: "customer", filter: { customerId: "%%user.sub" }, fields: { exclude: ["margin"] } }];
  const file = testConfig(uri, name, { collections: { orders: { rules } }, server: { socketio: true } });
  const config = { ...file, log: { level: "info" } } as unknown as ServiceConfig; // the parts that tests look at
  const service = await spawnService({ config });
  const isReady = async () =>
    expect
      .poll(
        () =>
          ask("GET", `${service.url}/readyz`).then(
            ({ status }) => status,
            () => 0,
          ),
        PATIENCE,
      )
      .toBe(200);
  await isReady();
  const orders = db.collection<{ _id: number; customerId: string; status: string; margin: number }>("orders");
  const add = (from: number, count: number) =>
    orders.insertMany(
      Array.from({ length: count }, (_, i) => ({
        _id: from + i,
        customerId: "ada",
        status: "open",
        margin: i,
      })),
    );
  await add(0, 10);
  const program = new Program(process.execPath, [await exampleAt(`${service.url}/${name}`)], {
    TOKEN: await signToken({ sub: "ada" }),
  });
  const shown = () => (program.ofType("shown").at(-1)?.["orders"] ?? []) as { _id: number }[];
  const found = async () =>
    (await orders.find({ status: "open" }, { projection: { margin: 0 } }).toArray()).toSorted(
      (a, b) => a._id - b._id,
    );
  const equalsFind = async () => {
    const expected = await found();
    await expect.poll(() => shown().toSorted((a, b) => a._id - b._id), PATIENCE).toEqual(expected);
  };
  await equalsFind();
  await service.kill("SIGKILL");
  await add(100, 10);
  await orders.deleteOne({ _id: 1 });
  await orders.updateOne({ _id: 2 }, { $set: { status: "paid" } });
  await service.start();
  await equalsFind();
  await add(200, 1);
  await equalsFind();
  expect(program.errors).toEqual([]);
  // It resumed: what was missed came one by one, not as another snapshot.
  const sizes = program.ofType("shown").map((line) => (line["orders"] as unknown[]).length);
  expect(sizes).toEqual([10, ...Array.from({ length: 10 }, (_, i) => 11 + i), 19, 18, 19]);
  await client.db(`${name}-state`).dropDatabase();
});
