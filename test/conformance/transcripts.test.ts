/**
 * Replays the transcripts of protocol version 1: a field that is missing or different is red, a new one is not.
 * `TIDEWIRE_RECORD=1` records them again; read the difference as a promise to every client that is out there.
 */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "../support/build.ts";
import { KEEPS_IMAGES, NO_IMAGES } from "../support/server-features.ts";
import { CONVERSATIONS, type Conversation } from "./conversations.ts";
import { Play } from "./play.ts";
import { startShared } from "./shared-service.ts";
import { differences, Normalizer, type Step, type Transcript } from "./transcript.ts";

const FOLDER = join(ROOT, "docs", "protocol-kit", "transcripts");
const fileOf = (name: string) => join(FOLDER, `${name.replaceAll(/[^a-z]+/gi, "-")}.json`);
const RECORDS = process.env["TIDEWIRE_RECORD"] === "1";

async function start(options: Transcript["service"]): Promise<Play> {
  const play = new Play(await startShared(options));
  onTestFinished(async () => {
    for (const { socket } of play.clients.values()) socket.terminate();
    await play.service.stop();
  });
  return play;
}

/** One for each connection of a conversation. */
function normalizers(): (connection: string) => Normalizer {
  const byConnection = new Map<string, Normalizer>();
  return (connection) => {
    const normalizer = byConnection.get(connection) ?? new Normalizer();
    byConnection.set(connection, normalizer);
    return normalizer;
  };
}

async function record({ name, service, moves }: Conversation): Promise<void> {
  const play = await start(service);
  const normalizerOf = normalizers();
  const steps: Step[] = [];
  for (const move of moves) {
    const { awaits = {}, ...step } = move;
    steps.push(step);
    await play.do(step);
    for (const [connection, types] of Object.entries(awaits)) {
      for (const type of types) {
        const got = await play.next(connection, type);
        if (typeof got === "number") steps.push({ closed: connection, code: got });
        else steps.push({ server: connection, message: normalizerOf(connection).normalize(got) });
        expect(typeof got === "number" ? "closed" : got.type, `${name}: ${JSON.stringify(got)}`).toBe(type);
      }
    }
  }
  const transcript: Transcript = { name, protocol: 1, service, steps };
  await writeFile(fileOf(name), `${JSON.stringify(transcript, null, 2)}\n`);
}

async function replay({ service, steps }: Transcript): Promise<void> {
  const play = await start(service);
  const [normalizerOf, recordedOf] = [normalizers(), normalizers()];
  for (const [index, step] of steps.entries()) {
    const where = `step ${index}`;
    if ("server" in step) {
      const got = await play.next(step.server, String(step.message["type"]));
      const message = typeof got === "number" ? { closed: got } : normalizerOf(step.server).normalize(got);
      const expected = recordedOf(step.server).renumber(step.message);
      expect(differences(expected, message, where), JSON.stringify(message)).toEqual([]);
    } else if ("closed" in step) {
      expect(await play.next(step.closed), where).toBe(step.code);
    } else await play.do(step);
  }
  expect(await play.rest()).toEqual([]);
}

/** Without images (MongoDB 5.0) the state between two writes of one transaction to one document is not delivered. */
const NEEDS_IMAGES = new Set(["a transaction"]);

if (RECORDS) {
  test.each(CONVERSATIONS)("records $name", record);
} else {
  const files = (await readdir(FOLDER)).filter((name) => name.endsWith(".json"));
  const transcripts = await Promise.all(
    files.map(async (file): Promise<Transcript> => JSON.parse(await readFile(join(FOLDER, file), "utf8"))),
  );

  test("every conversation has its transcript", () => {
    expect(transcripts.map(({ name }) => name).sort()).toEqual(CONVERSATIONS.map(({ name }) => name).sort());
  });

  test.for(transcripts)("version 1 still says: $name", (transcript, { skip }) => {
    skip(!KEEPS_IMAGES && NEEDS_IMAGES.has(transcript.name), NO_IMAGES);
    return replay(transcript);
  });
}

test("a missing or changed field is reported, a new optional one is not", () => {
  const expected = { type: "welcome", limits: { subscriptions: 100 }, list: [1] };
  expect(differences(expected, { ...expected, extra: 1, limits: { subscriptions: 100, more: 2 } })).toEqual(
    [],
  );
  expect(differences(expected, { type: "welcome", limits: {}, list: [1] })).toEqual([
    ".limits.subscriptions: missing",
  ]);
  expect(differences(expected, { ...expected, list: [1, 2] })).toHaveLength(1);
  expect(differences(expected, { ...expected, type: "hi" })).toHaveLength(1);
  // Not in documents: what is new there has leaked.
  expect(differences({ doc: { _id: 1 } }, { doc: { _id: 1, secret: 2 } })).toHaveLength(1);
});
