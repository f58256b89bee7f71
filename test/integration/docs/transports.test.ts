/** The commands of docs/transports.md, run as they stand there; what comes has the shape that the page shows. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { ROOT } from "../../support/build.ts";
import { endWithUs } from "../../support/guard.ts";
import { isWithout } from "../../support/installed.ts";
import { signToken, startTestService } from "../../support/service.ts";

const page = readFileSync(join(ROOT, "docs", "transports.md"), "utf8");

/** Each command with what the page shows of its answer. */
const COMMANDS = Array.from(
  page.matchAll(/```sh\n(curl[\s\S]*?)```\n+```(text|json)\n([\s\S]*?)```/g),
  ([, command = "", , shown = ""]) => ({ command, shown }),
);

async function start() {
  const rules = [{ name: "customer", filter: { customerId: "%%user.sub" }, fields: { exclude: ["margin"] } }];
  const { service, db } = await startTestService({ collections: { orders: { rules } } });
  const env = {
    ...process.env,
    BASE: `http://127.0.0.1:${service.address.port}`,
    TOKEN: await signToken({ sub: "ada" }),
  };
  const orders = db.collection<{ _id: number; customerId: string; status: string; total: number }>("orders");
  await orders.insertOne({ _id: 1, customerId: "ada", status: "open", total: 10 });
  const add = () => orders.insertOne({ _id: 3, customerId: "ada", status: "open", total: 7 });
  return { env, add };
}

type Env = NodeJS.ProcessEnv;

/** Runs a command until it has said as much as it should, or has ended. */
async function run(
  command: string,
  env: Env,
  isEnough: (text: string) => boolean = () => false,
): Promise<string> {
  const child = spawn("sh", ["-c", `exec ${command}`], { env, stdio: ["ignore", "pipe", "ignore"] });
  endWithUs(child);
  onTestFinished(() => void child.kill("SIGKILL"));
  let text = "";
  for await (const part of child.stdout) {
    text += part;
    if (isEnough(text)) break;
  }
  child.kill("SIGKILL");
  return text;
}

const commandWith = (part: string) => {
  const found = COMMANDS.filter(({ command }) => command.includes(part));
  expect(found, part).toHaveLength(1);
  return found[0]!;
};
const eventsOf = (text: string) =>
  Array.from(text.matchAll(/^(?:id: (.*)\n)?event: (.*)\ndata: (.*)$/gm), ([, id, type]) => [
    type,
    // The end of an id decides where a reconnection continues.
    id?.split(".").at(-1) === "" ? "from the start" : id === undefined ? "no id" : "from here",
  ]);

test("the page's commands are the ones that are run here", () => {
  expect(COMMANDS).toHaveLength(5);
});

test("the stream begins as the page shows", async ({ skip }) => {
  skip(isWithout("curl"), "no curl here");
  const { env, add } = await start();
  const { command, shown } = commandWith("curl -N");
  let added: Promise<unknown> | undefined;
  const text = await run(command, env, (said) => {
    if (said.includes("event: snapshot")) added ??= add();
    return said.includes("event: added") && said.endsWith("\n\n");
  });
  await added;
  expect(eventsOf(text)).toEqual(eventsOf(shown));
  expect(text).toMatch(/^retry: \d+\n\n/);
});

test("a key, an error and the polls come as the page shows", async ({ skip }) => {
  skip(isWithout("curl"), "no curl here");
  const { env, add } = await start();
  const shapeOf = (text: string) => {
    const value = JSON.parse(text);
    const messages = value.messages?.map((message: object) => Object.keys(message));
    return [Object.keys(value), value.start, messages];
  };
  const key = commandWith("/v1/key");
  expect(shapeOf(await run(key.command, env))).toEqual(shapeOf(key.shown));
  const error = commandWith("curl -i");
  const refused = (await run(error.command, env)).replaceAll("\r", "");
  for (const line of error.shown.trim().split("\n")) expect(refused).toContain(line);
  const [first, second] = COMMANDS.filter(({ command }) => command.includes("/v1/poll"));
  const answer = await run(first!.command, env);
  expect(shapeOf(answer)).toEqual(shapeOf(first!.shown));
  await add();
  const { cursor, ticket } = JSON.parse(answer);
  const next = await run(second!.command, { ...env, CURSOR: cursor, TICKET: ticket });
  expect(shapeOf(next)).toEqual(shapeOf(second!.shown));
});
