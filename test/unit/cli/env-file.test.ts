import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { envLine, mergeEnv, withEnvFile } from "../../../src/cli/env-file.ts";

async function folderWith(text?: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-env-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  if (text !== undefined) await writeFile(join(folder, ".env"), text);
  return folder;
}

test("adds the variables of .env, and a variable that is set already prevails", async () => {
  const folder = await folderWith("A=file\nB='file # 2'\n");
  expect(withEnvFile(folder, { A: "shell" })).toEqual({ A: "shell", B: "file # 2" });
});

test("uses the environment alone where there is no .env", async () => {
  expect(withEnvFile(await folderWith(), { A: "shell" })).toEqual({ A: "shell" });
});

test.each(["", "mongodb://h:1/a?replicaSet=rs", "mongodb://u:p'#$@h/a", `both ' and "`, "a b#c"])(
  "writes %j so that it is read back unchanged",
  (value) => {
    expect(parseEnv(envLine("NAME", value))).toEqual({ NAME: value });
  },
);

test("replaces, keeps and appends variables of an existing file, and touches no other line", () => {
  const existing = "# mine\nexport URI=old\nSECRET=kept\nEMPTY=\nURI_2=other\n";
  const merged = mergeEnv(existing, { URI: "new", SECRET: "fresh", EMPTY: "filled", MORE: "1" }, [
    "SECRET",
    "EMPTY",
  ]);
  expect(merged).toBe("# mine\nURI=new\nSECRET=kept\nEMPTY=filled\nURI_2=other\nMORE=1\n");
});
