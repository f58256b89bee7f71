import { expect, test } from "vitest";
import { parse } from "yaml";
import { runCli } from "../../../src/cli/run-cli.ts";
import { vapidProblem } from "../../../src/push/vapid.ts";

async function run(...args: string[]) {
  const lines: string[] = [];
  const io = { out: (text: string) => void lines.push(text), err: () => {}, env: {}, now: () => 0 };
  expect(await runCli(["vapid-keys", ...args], io)).toBe(0);
  return lines.join("\n");
}

test("prints a pair whose keys belong together, another one each time", async () => {
  const [first, second] = [JSON.parse(await run("--json")), JSON.parse(await run("--json"))];
  expect(vapidProblem(first)).toBeNull();
  expect(second.privateKey).not.toBe(first.privateKey);
});

test("the text contains the section of the configuration, without the private key", async () => {
  const text = await run();
  const [, privateKey = ""] = /VAPID_PRIVATE_KEY=(\S+)/.exec(text) ?? [];
  const { push } = parse(text.slice(text.indexOf("push:")));
  expect(push.vapid.privateKey).toBe("$".concat("{VAPID_PRIVATE_KEY}"));
  expect(vapidProblem({ publicKey: push.vapid.publicKey, privateKey })).toBeNull();
  expect(text.split(privateKey)).toHaveLength(2);
});
