/** The effect of docker-compose.yml on MongoDB, with a real mongod and without Docker. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { parse } from "yaml";
import { findMongod } from "../../src/source/mongod-binary.ts";
import { launchMongod } from "../../src/source/mongod-process.ts";
import { ROOT } from "../support/build.ts";
import { endWithUs, exited } from "../support/guard.ts";
import { freePort } from "../support/mongod.ts";
import { startNode } from "../support/node.ts";
import { KEEPS_IMAGES } from "../support/server-features.ts";

interface Compose {
  readonly services: Readonly<
    Record<string, { readonly entrypoint: readonly string[]; readonly command: readonly string[] }>
  >;
}

const read = async (file: string) => readFile(join(ROOT, file), "utf8");

/** Runs a program to its end. @returns Its exit code. */
async function run(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<number | null> {
  const child = spawn(program, args, { env: { ...process.env, ...env }, stdio: "ignore" });
  endWithUs(child);
  return (await exited(child)).code;
}

test("compose's MongoDB makes its key, its replica set and its users once, and the service gets by with its rights", async () => {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-compose-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, "db"));
  await mkdir(join(folder, "configdb"));
  // The file's shape is what this test looks at.
  const { services } = parse(await read("docker-compose.yml"), { merge: true }) as Compose;
  const here = (text: string) => text.replaceAll("/data/configdb", join(folder, "configdb"));

  const { entrypoint = [], command: makeKey = [] } = services["mongodb-key"] ?? {};
  const [shell = "", ...flags] = entrypoint;
  const key = join(folder, "configdb", "keyfile");
  expect(await run(shell, [...flags, ...makeKey.map(here)])).toBe(0);
  const made = await readFile(key, "utf8");
  expect((await stat(key)).mode & 0o777).toBe(0o400);
  expect(await run(shell, [...flags, ...makeKey.map(here)])).toBe(0);
  expect(await readFile(key, "utf8")).toBe(made);

  const port = await freePort();
  const { path } = await findMongod({ logger: pino({ level: "silent" }) });
  // On this machine's own address only, whatever the container does inside its network.
  const args = (services["mongodb"]?.command ?? [])
    .map(here)
    .map((arg) => arg.replace("--bind_ip_all", "--bind_ip=127.0.0.1"));
  const start = () => launchMongod(path, [...args, "--port", String(port), "--dbpath", join(folder, "db")]);
  let mongod = await start();
  onTestFinished(() => mongod.stop());

  const passwords = {
    MONGODB_ADMIN_PASSWORD: randomBytes(32).toString("hex"),
    MONGODB_PASSWORD: randomBytes(32).toString("hex"),
  };
  const setup = join(folder, "setup.js");
  await writeFile(
    setup,
    (await read("config/mongodb-setup.js")).replace("mongodb:27017", `127.0.0.1:${port}`),
  );
  const check = () =>
    run(process.execPath, [join(ROOT, "test/support/mongosh.mjs"), String(port), setup], passwords);
  await expect.poll(check, { timeout: 60_000 }).toBe(0);
  expect(await check()).toBe(0);

  const url = (user: string, password: string) =>
    `mongodb://${user}:${password}@127.0.0.1:${port}/?replicaSet=rs0&authSource=admin`;
  const uri = url("tidewire", passwords.MONGODB_PASSWORD);
  const open = async (address: string) => {
    const client = new MongoClient(address, { serverSelectionTimeoutMS: 20_000 });
    onTestFinished(() => client.close());
    return client.db("shop").collection("orders");
  };
  const admin = await open(url("admin", passwords.MONGODB_ADMIN_PASSWORD));
  await admin.insertOne({ n: 1 });
  await expect((await open(`mongodb://127.0.0.1:${port}/?replicaSet=rs0`)).findOne()).rejects.toThrow(
    /requires authentication/,
  );
  await expect((await open(uri)).insertOne({ n: 2 })).rejects.toThrow(/not authorized/);
  await expect((await open(url("tidewire", "wrong"))).findOne()).rejects.toThrow(/Authentication failed/);

  // The service starts with these rights alone, images included where the server keeps any.
  const { service } = await startNode(uri, "shop", {
    collections: { orders: { rules: [{ name: "all" }] } },
    mongodb: { images: KEEPS_IMAGES ? "required" : "auto", stateDatabase: "tidewire" },
    auth: { jwt: { algorithms: ["HS256"], secret: randomBytes(32).toString("hex") }, revocation: "on" },
  });
  expect(service.readiness()).toMatchObject({
    ready: true,
    images: { "shop.orders": KEEPS_IMAGES ? "on" : "off" },
  });
  await service.stop();

  // A container that is started again finds everything there.
  await mongod.stop();
  mongod = await start();
  await expect.poll(check, { timeout: 60_000 }).toBe(0);
});
