/** [G2] How a node returns to the shared tail, with and without a change stream of its own to read meanwhile. */
import * as redis from "@redis/client";
import { expect, onTestFinished, test } from "vitest";
import { Deployment } from "../../../src/source/deployment.ts";
import { EpochStore } from "../../../src/source/epoch-store.ts";
import { LeaseStore } from "../../../src/source/lease-store.ts";
import { answerOf } from "../../../src/source/mongo.ts";
import { SharedTail } from "../../../src/source/tail/shared-tail.ts";
import { identifyDeployment } from "../../../src/source/topology.ts";
import { guardParts } from "../../support/guard-parts.ts";
import { testDatabase } from "../../support/mongod.ts";
import { Redis } from "../../support/redis.ts";
import { KEEPS_IMAGES } from "../../support/server-features.ts";
import { PATIENCE } from "../../support/source-node.ts";

/** After so many failed attempts the pause is half a minute. */
const FAILURES = 6;
/** The oplog has never contained this time. */
const LONG_TRIMMED = 1n;

test.runIf(KEEPS_IMAGES)(
  "a node that cannot read MongoDB joins the tail during the pause in which others do not",
  async ({ skip }) => {
    const server = await Redis.start(skip);
    const { client, name } = await testDatabase();
    const stateDatabase = client.db(`${name}-state`);
    onTestFinished(async () => void (await stateDatabase.dropDatabase()));
    const identify = async () => (await identifyDeployment(client)).id;
    const deployment = new Deployment(client, new EpochStore(stateDatabase), identify);
    const through = await deployment.now();
    const tail = new SharedTail(
      { redis: { url: server.url, key: `tail-${name}`, bytes: 1024 * 1024 } },
      {
        ...guardParts(),
        redis,
        holder: name,
        serverNowMs: () => Date.now(),
        store: new LeaseStore(stateDatabase),
        answer: (ask) => answerOf(client, ask, { timeoutMs: 10_000 }),
        deployment,
        through: () => through,
        access: async () => client,
        onClientFailed: () => {},
      },
    );
    onTestFinished(() => tail.stop());
    const watched = new Set([`${name}.things`]);
    const stream = {
      database: name,
      namespaces: [...watched],
      images: true,
      batchSize: 100,
      maxAwaitMs: 200,
      stallTimeoutMs: 10_000,
      readPreference: undefined,
    };
    // It leads, too, so that the tail is current.
    const { epoch } = await deployment.epoch();
    tail.enter({ epoch: epoch.id, fingerprint: "pipeline", watched, stream });
    await expect.poll(() => tail.isInviting, PATIENCE).toBe(true);
    for (let n = 0; n < FAILURES; n++) expect(await tail.open(LONG_TRIMMED, "only-source")).toBeNull();
    expect(await tail.open(through, "alternative")).toBeNull();
    const joined = await tail.open(through, "only-source");
    joined?.close();
    expect(joined).not.toBeNull();
  },
);
