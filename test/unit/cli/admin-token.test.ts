import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { runCli } from "../../../src/cli/run-cli.ts";
import { AdminOptions } from "../../../src/gateway/admin-options.ts";

async function run(...args: string[]) {
  const lines: string[] = [];
  const errors: string[] = [];
  const io = {
    out: (text: string) => void lines.push(text),
    err: (text: string) => void errors.push(text),
    env: {},
    now: () => 0,
  };
  const code = await runCli(["admin-token", ...args], io);
  return { code, out: lines.join("\n"), err: errors.join("\n") };
}

test("prints a secret of 32 random bytes, and the entry that accepts it", async () => {
  const asked = () => run("--name", "ci", "--role", "view", "--role", "act", "--role", "view", "--json");
  const { secret, entry } = JSON.parse((await asked()).out);
  expect(Buffer.from(secret.replace("tidewire_admin_", ""), "base64url")).toHaveLength(32);
  expect(entry).toEqual({
    name: "ci",
    sha256: createHash("sha256").update(secret).digest("hex"),
    roles: ["view", "act"],
  });
  expect(AdminOptions.parse({ tokens: [entry] }).tokens).toEqual([entry]);
  expect(JSON.parse((await asked()).out).secret).not.toBe(secret);
});

test("the text contains the secret once, and the entry without it", async () => {
  const { out } = await run("--name", "ada", "--role", "documents");
  const [secret = ""] = /tidewire_admin_\S+/.exec(out) ?? [];
  expect(out.split(secret)).toHaveLength(2);
  expect(out).toContain(`sha256: ${createHash("sha256").update(secret).digest("hex")}`);
  expect(out).toContain("roles: [documents]");
});

test.each([
  [["--role", "view"], "--name takes"],
  [["--name", "a b", "--role", "view"], "--name takes"],
  [["--name", "a"], "--role takes one of view, act, edit, documents"],
  [["--name", "a", "--role", "veiw"], "Did you mean view?"],
])("%o is a mistake of the command line", async (args, text) => {
  expect(await run(...args)).toMatchObject({ code: 2, out: "", err: expect.stringContaining(text) });
});
