/** The receivers of examples/webhooks in three languages, each with the library of Standard Webhooks for its language. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, type TestContext, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { installed, skipWithout } from "../../support/installed.ts";
import { Program } from "../../support/program.ts";
import { pythonWith } from "../../support/python.ts";
import { ACCEPTED, forever, sinkMessage, sinkMessages, targetOf } from "../../support/sink-messages.ts";

const EXAMPLES = join(ROOT, "examples", "webhooks");
const secretOf = (byte: number) => `whsec_${Buffer.alloc(32, byte).toString("base64")}`;
const SECRET = secretOf(1);

interface Receiver {
  readonly command: string;
  readonly args: readonly string[];
}

const folder = async () => {
  const path = await mkdtemp(join(tmpdir(), "tidewire-webhooks-"));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
};

const RECEIVERS: readonly (readonly [string, (skip: TestContext["skip"]) => Promise<Receiver>])[] = [
  ["Node", async () => ({ command: process.execPath, args: [join(EXAMPLES, "node", "receiver.mjs")] })],
  [
    "Python",
    async (skip) => {
      const requirements = await readFile(join(EXAMPLES, "python", "requirements.txt"), "utf8");
      const python = await pythonWith(...requirements.trim().split("\n"));
      if ("missing" in python) return skipWithout(skip, python.missing);
      return { command: python.python, args: [join(EXAMPLES, "python", "receiver.py")] };
    },
  ],
  [
    "Go",
    async (skip) => {
      const go = installed("go");
      if (go === undefined) return skipWithout(skip, "go is not installed");
      // In a folder of its own, so that the program is not in the repository.
      const module = await folder();
      await cp(join(EXAMPLES, "go"), module, { recursive: true });
      await promisify(execFile)(go, ["build", "-o", "receiver", "."], { cwd: module, timeout: 200_000 });
      return { command: join(module, "receiver"), args: [] };
    },
  ],
];

async function listen({ command, args }: Receiver, inbox: string) {
  const program = new Program(command, args, { WEBHOOK_SECRET: SECRET, PORT: "0", INBOX: inbox });
  await expect.poll(() => [...program.ofType("listening"), ...program.errors]).not.toEqual([]);
  expect(program.errors).toEqual([]);
  const url = `http://127.0.0.1:${program.lines[0]?.["port"]}/hooks`;
  const targetWith = (change: object = {}) =>
    targetOf({ webhook: { url, secret: SECRET, allowPrivate: true, timeoutMs: 60_000, ...change } });
  const processed = () => program.ofType("processed").map(({ id }) => id);
  return { program, targetWith, processed };
}

test.for(RECEIVERS)(
  "the receiver in %s verifies, stores each event once, and answers",
  async ([_name, find], { skip }) => {
    const receiver = await find(skip);
    const inbox = join(await folder(), "inbox");
    const first = await listen(receiver, inbox);
    const target = await first.targetWith();
    const message = sinkMessage("c1.abc", '"ä"', { doc: { name: "Zoë 🚲", n: 1.5 } });
    expect(await target.send([message], forever())).toEqual([ACCEPTED]);
    expect(await target.send([message], forever())).toEqual([ACCEPTED]);
    const rotating = await first.targetWith({ secret: [secretOf(2), SECRET] });
    expect(await rotating.send([sinkMessage("c2.abc")], forever())).toEqual([ACCEPTED]);
    const batches = await first.targetWith({ batch: 10 });
    const batch = [message, ...sinkMessages(3)];
    expect(await batches.send(batch, forever())).toEqual(batch.map(() => ACCEPTED));
    await expect.poll(first.processed).toEqual(["c1.abc", "c2.abc", "m0", "m1", "m2"]);
    expect(first.program.ofType("processed")[0]).toEqual({
      type: "processed",
      id: "c1.abc",
      event: "tidewire.orders.added",
      subject: '"ä"',
    });
    const forged = await first.targetWith({ secret: secretOf(2) });
    expect(await forged.send([sinkMessage("c3.abc")], forever())).toEqual([
      { kind: "unavailable", reason: "the receiver answered 401" },
    ]);
    await first.program.stop();

    const second = await listen(receiver, inbox);
    const again = await second.targetWith();
    for (const repeated of [message, sinkMessage("m2"), sinkMessage("c4.abc")])
      expect(await again.send([repeated], forever())).toEqual([ACCEPTED]);
    await expect.poll(second.processed).toEqual(["c4.abc"]);
  },
);
