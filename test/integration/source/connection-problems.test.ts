/** Each way in which a connection fails, on real servers: host, cause, what to do, and never the password. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { runCli } from "../../../src/cli/run-cli.ts";
import { startService } from "../../../src/server.ts";
import { StartupError } from "../../../src/source/startup-error.ts";
import { makeCertificate } from "../../support/load-balancer.ts";
import { freePort, Mongod, type ReplicaSet, startReplicaSet } from "../../support/mongod.ts";
import { testConfig, toConfig } from "../../support/service.ts";
import { TcpProxy } from "../../support/tcp-proxy.ts";

const PASSWORD = "s3cret";

interface Servers {
  readonly set: ReplicaSet;
  /** `127.0.0.1:port` of the one member, of a standalone server, of a server with TLS, of no server, of a silent one. */
  readonly member: string;
  readonly alone: string;
  readonly tls: string;
  readonly nobody: string;
  readonly silent: string;
  readonly notInitiated: string;
  readonly certFile: string;
}

let servers: Servers;
const stops: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-connection-"));
  stops.push(() => rm(directory, { recursive: true, force: true }));
  const { certFile, bothFile } = await makeCertificate(directory);
  const set = await startReplicaSet({ members: 1, auth: true });
  stops.push(() => set.stop());
  const started = async (...args: string[]) => {
    const mongod = await Mongod.start(args);
    stops.push(() => mongod.dispose());
    return mongod;
  };
  const alone = await started();
  const ghost = await started("--replSet", "rs0");
  // Newer servers demand an authority.
  const tlsArgs = ["--tlsMode", "requireTLS", "--tlsCertificateKeyFile", bothFile, "--tlsCAFile", certFile];
  const tls = await started(...tlsArgs, "--tlsAllowConnectionsWithoutCertificates");
  const proxy = await TcpProxy.open(alone.port);
  stops.push(async () => proxy.stop());
  proxy.freeze();
  const root = await new MongoClient(set.uri).connect();
  await root.db("admin").command({ createUser: "app", pwd: PASSWORD, roles: ["root"] });
  await root.close();
  servers = {
    set,
    member: (await set.primary()).host,
    alone: alone.host,
    tls: tls.host,
    nobody: `127.0.0.1:${await freePort()}`,
    silent: `127.0.0.1:${proxy.port}`,
    notInitiated: ghost.host,
    certFile,
  };
});

afterAll(async () => {
  for (const stop of stops.reverse()) await stop();
});

const configOf = (uri: string) =>
  testConfig(uri, "shop", {
    collections: { things: { rules: [{ name: "all" }] } },
    mongodb: { connectTimeout: "500ms", startTimeout: "0s", stateDatabase: "tidewire" },
  });

/** `tidewire check --connect` on a file with this connection string. */
async function check(uri: string) {
  const directory = await mkdtemp(join(tmpdir(), "tidewire-check-"));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  const file = join(directory, "tidewire.json");
  await writeFile(file, JSON.stringify(configOf(uri)));
  const lines: string[] = [];
  const say = (text: string) => void lines.push(text);
  const io = { out: say, err: say, env: {}, now: Date.now };
  return { code: await runCli(["check", "--config", file, "--connect"], io), text: lines.join("\n") };
}

type Case = readonly [what: string, uri: (at: Servers) => string, text: (at: Servers) => string];

const LOGIN = `app:${PASSWORD}`;
const CASES: readonly Case[] = [
  [
    "a wrong password",
    ({ member }) => `mongodb://app:${PASSWORD}x@${member}/?replicaSet=test`,
    ({ member }) => `${member} refuses the login of user "app" in the authentication database "admin"`,
  ],
  [
    "another authentication database",
    ({ member }) => `mongodb://${LOGIN}@${member}/shop?replicaSet=test`,
    () =>
      `in the authentication database "shop": the user or the password is wrong, or the user belongs to another`,
  ],
  [
    "no login",
    ({ member }) => `mongodb://${member}/?replicaSet=test`,
    () => "this MongoDB wants a login: put user and password into mongodb.uri",
  ],
  [
    "another name of the replica set",
    ({ member }) => `mongodb://${LOGIN}@${member}/?replicaSet=other`,
    ({ member }) =>
      `${member} belongs to the replica set "test", and mongodb.uri says replicaSet=other. Write replicaSet=test`,
  ],
  [
    "a standalone server under replicaSet=",
    ({ alone }) => `mongodb://${LOGIN}@${alone}/?replicaSet=rs0`,
    ({ alone }) =>
      `${alone} is a standalone server, which has no change streams, and mongodb.uri says replicaSet=rs0. Start it with --replSet rs0`,
  ],
  [
    "a replica set that is not initiated",
    ({ notInitiated }) => `mongodb://${LOGIN}@${notInitiated}/?replicaSet=rs0`,
    ({ notInitiated }) =>
      `${notInitiated} was started with --replSet, and its replica set is not initiated. Run rs.initiate()`,
  ],
  [
    "an unknown host",
    () => `mongodb://${LOGIN}@no-such-host.invalid:27017/?replicaSet=rs0`,
    () =>
      "the name of no-such-host.invalid:27017 cannot be resolved. Check its spelling in mongodb.uri, and DNS",
  ],
  [
    "an unknown name of mongodb+srv",
    () => `mongodb+srv://${LOGIN}@cluster.no-such-host.invalid/`,
    () => "the name cluster.no-such-host.invalid has no DNS entry for mongodb+srv (",
  ],
  [
    "a port on which nothing listens",
    ({ nobody }) => `mongodb://${LOGIN}@${nobody}/?replicaSet=rs0`,
    ({ nobody }) => `${nobody} refuses connections. Does mongod run there, on that port`,
  ],
  [
    "a server that accepts and does not answer",
    ({ silent }) => `mongodb://${LOGIN}@${silent}/?replicaSet=rs0`,
    ({ silent }) => `${silent} gave no answer in time. Is mongod frozen, or does a firewall drop packets?`,
  ],
  [
    "no TLS to a server that requires it",
    ({ tls }) => `mongodb://${LOGIN}@${tls}/`,
    ({ tls }) => `${tls} requires TLS. Add tls=true to mongodb.uri`,
  ],
  [
    "TLS to a server without it",
    ({ alone }) => `mongodb://${LOGIN}@${alone}/?tls=true`,
    ({ alone }) => `${alone} does not use TLS, and mongodb.uri asks for it. Remove tls=true`,
  ],
  [
    "a certificate of an unknown authority",
    ({ tls }) => `mongodb://${LOGIN}@${tls}/?tls=true`,
    ({ tls }) =>
      `the TLS certificate of ${tls} is not accepted (self-signed certificate). Name its authority with tlsCAFile`,
  ],
  [
    "a preference for secondaries that do not exist",
    ({ member }) =>
      `mongodb://${LOGIN}@${member}/?replicaSet=test&readPreference=secondary&maxStalenessSeconds=120`,
    ({ member }) =>
      `${member}: no member matches readPreference=secondary and its options in mongodb.uri. Remove them`,
  ],
];

test.each(CASES)(
  "%s: check --connect and the start both say the host, the cause and what to do",
  async (_what, uriOf, textOf) => {
    const uri = uriOf(servers);
    const text = textOf(servers);
    const checked = await check(uri);
    expect(checked.text).toContain(text);
    expect(checked.code).toBe(1);
    expect(checked.text).not.toContain(PASSWORD);
    const error = await startService(toConfig(configOf(uri))).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(StartupError);
    expect(String(error)).toContain(text);
    expect(String(error)).not.toContain(PASSWORD);
  },
);

test("check --connect accepts a MongoDB that can be used, and changes nothing", async () => {
  const checked = await check(`mongodb://${LOGIN}@${servers.member}/?replicaSet=test`);
  expect(checked).toMatchObject({
    code: 0,
    text: expect.stringMatching(/ok: MongoDB \d+\.\d+\.\d+, a replica set, can be used$/),
  });
  const root = await new MongoClient(servers.set.uri).connect();
  onTestFinished(() => root.close());
  expect(await root.db("shop").listCollections().toArray()).toEqual([]);
});

test("check --connect needs no server where the service starts its own", async () => {
  const checked = await check("embedded");
  expect(checked).toMatchObject({ code: 0, text: expect.stringContaining("mongodb.uri is embedded") });
});
