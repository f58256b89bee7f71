/** A replica set of the matrix, the faults that may befall it, and the moment from which it answers again. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { MongoClient, type MongoClientOptions } from "mongodb";
import { makeCertificate } from "../support/load-balancer.ts";
import { type Mongod, type ReplicaSet, startReplicaSet, until } from "../support/mongod.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

export const TOPOLOGIES = { "single node": 1, "three members": 3 } as const;
export type Topology = keyof typeof TOPOLOGIES;

/** A backend's own client, which does not wait very long for a member that is gone. */
export const QUICK: MongoClientOptions = {
  serverSelectionTimeoutMS: 10_000,
  connectTimeoutMS: 5_000,
  socketTimeoutMS: 10_000,
  heartbeatFrequencyMS: 1_000,
};

export interface Fault {
  readonly name: string;
  readonly on: readonly Topology[];
  /** How the service reaches MongoDB. Default: directly. */
  readonly via?: "proxy" | "tls-proxy";
  /** Nobody writes while it lasts: what a member outside its set is given, the set never has. */
  readonly quiet?: boolean;
  /** Befalls the deployment, and settles when it has passed. `primary` is the one of before. */
  readonly befall: (deployment: FaultDeployment, primary: Mongod) => Promise<void>;
}

const BOTH: Fault["on"] = ["single node", "three members"];

const frozen = (name: string, seconds: number): Fault => ({
  name,
  on: BOTH,
  async befall(_deployment, primary) {
    await primary.kill("SIGSTOP");
    await pause(seconds * 1_000);
    await primary.kill("SIGCONT");
  },
});

const killed = (seconds: number): Fault => ({
  name: `primary killed, started again after ${seconds} s`,
  on: BOTH,
  async befall(_deployment, primary) {
    await primary.kill("SIGKILL");
    await pause(seconds * 1_000);
    await primary.start();
  },
});

/** Long enough for the driver to have noticed in every way that it knows. */
const NETWORK_FAULT_MS = 10_000;

const lostRoute = (name: string, via: "proxy" | "tls-proxy", strike: (proxy: TcpProxy) => void): Fault => ({
  name,
  on: BOTH,
  via,
  async befall(deployment, primary) {
    const proxy = deployment.proxyOf(primary);
    strike(proxy);
    await pause(NETWORK_FAULT_MS);
    await proxy.resume();
  },
});

/** Once a stream never came back from these. */
export const FROZEN_25: Fault = frozen("primary frozen for 25 s", 25);
export const HUNG_THEN_KILLED: Fault = {
  name: "primary frozen for 8 s, killed, started again 12 s later",
  on: BOTH,
  async befall(_deployment, primary) {
    await primary.kill("SIGSTOP");
    await pause(8_000);
    await primary.kill("SIGKILL");
    await pause(12_000);
    await primary.start();
  },
};

export const FAULTS: readonly Fault[] = [
  frozen("primary frozen for 3 s", 3),
  frozen("primary frozen for 18 s", 18),
  FROZEN_25,
  frozen("primary frozen for 60 s", 60),
  killed(1),
  killed(15),
  killed(40),
  HUNG_THEN_KILLED,
  {
    name: "all members frozen for 25 s",
    on: ["three members"],
    async befall({ set }) {
      await Promise.all(set.members.map((member) => member.kill("SIGSTOP")));
      await pause(25_000);
      await Promise.all(set.members.map((member) => member.kill("SIGCONT")));
    },
  },
  {
    name: "restarted outside its replica set for 5 s, then in it again",
    on: ["single node"],
    quiet: true,
    async befall(_deployment, primary) {
      await primary.kill("SIGKILL");
      await primary.start({ alone: true });
      await pause(5_000);
      await primary.kill("SIGTERM");
      await primary.start();
    },
  },
  lostRoute("port closed for 10 s", "proxy", (proxy) => proxy.closePort()),
  lostRoute("packets dropped for 10 s, connections of before dead for ever", "proxy", (proxy) =>
    proxy.swallow(),
  ),
  lostRoute("packets delayed for 10 s", "proxy", (proxy) => proxy.freeze()),
  lostRoute("TLS handshakes reset for 10 s", "tls-proxy", (proxy) => proxy.cut()),
];

export class FaultDeployment {
  readonly set: ReplicaSet;
  /** For the service. */
  readonly uri: string;
  /** For writers and the oracle. */
  backend: MongoClient;
  readonly #proxies: ReadonlyMap<number, TcpProxy>;

  private constructor(set: ReplicaSet, proxies: ReadonlyMap<number, TcpProxy>, tls: string) {
    this.set = set;
    this.uri = set.uri + tls;
    this.#proxies = proxies;
    this.backend = new MongoClient(set.uri, QUICK);
  }

  /** @param directory Where a certificate may lie. */
  static async start(topology: Topology, via: Fault["via"], directory: string): Promise<FaultDeployment> {
    const proxies = new Map<number, TcpProxy>();
    const addressOf = async (member: Mongod) => {
      const proxy = await TcpProxy.open(member.port);
      proxies.set(member.port, proxy);
      return `127.0.0.1:${proxy.port}`;
    };
    const { certFile, bothFile } =
      via === "tls-proxy" ? await makeCertificate(directory) : { certFile: "", bothFile: "" };
    const set = await startReplicaSet({
      members: TOPOLOGIES[topology],
      electionTimeoutMillis: 2_000,
      // Members talk to one another in plain text, as do backends; the service does not.
      args: certFile === "" ? [] : ["--tlsMode", "allowTLS", "--tlsCertificateKeyFile", bothFile],
      ...(via === undefined ? {} : { addressOf }),
    });
    const tls = certFile === "" ? "" : `&tls=true&tlsCAFile=${encodeURIComponent(certFile)}`;
    const deployment = new FaultDeployment(set, proxies, tls);
    await deployment.backend.connect();
    return deployment;
  }

  proxyOf(member: Mongod): TcpProxy {
    const proxy = this.#proxies.get(member.port);
    assert(proxy !== undefined, "no proxy before this member");
    return proxy;
  }

  /** Waits until a majority takes writes, by whatever way. @returns When, in epoch milliseconds. */
  async untilAnswers(): Promise<number> {
    return until("a write by a majority", async () => {
      const primary = await this.set.primary();
      const client = new MongoClient(primary.uri, {
        ...QUICK,
        socketTimeoutMS: 1_000,
        retryWrites: false,
      });
      try {
        const probes = client.db("probe").collection("probes");
        await probes.insertOne({}, { writeConcern: { w: "majority", wtimeoutMS: 5_000 } });
        return Date.now();
      } catch {
        return undefined; // It has just lost its place, or is about to gain it.
      } finally {
        await client.close();
      }
    });
  }

  /** A client that has met its only member outside the set has none left. */
  async renewBackend(): Promise<void> {
    await this.backend.close();
    this.backend = await new MongoClient(this.set.uri, QUICK).connect();
  }

  async stop(): Promise<void> {
    await this.backend.close();
    for (const proxy of this.#proxies.values()) proxy.stop();
    await this.set.stop();
  }
}
