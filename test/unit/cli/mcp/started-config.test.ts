import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, onTestFinished, test } from "vitest";
import { currentText, readStarted } from "../../../../src/cli/mcp/started-config.ts";
import { ConfigError } from "../../../../src/config/config.ts";

let folder: string;
let file: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tidewire-started-"));
  file = join(folder, "tidewire.yaml");
  const made = folder;
  onTestFinished(() => rm(made, { recursive: true, force: true }));
});

test("keeps the text of the start, and reads that of this moment", async () => {
  await writeFile(file, "a: 1");
  const started = await readStarted(file);
  await writeFile(file, "a: 2");
  expect(started.text).toBe("a: 1");
  expect(await currentText(started)).toBe("a: 2");
});

test("begins without a file, and reads it when it exists", async () => {
  const started = await readStarted(file);
  expect(started.text).toBeNull();
  await expect(currentText(started)).rejects.toThrow(ConfigError);
  await writeFile(file, "a: 1");
  expect(await currentText(started)).toBe("a: 1");
});

test.each([true, false])("reads no other file through a new link (the file existed: %s)", async (existed) => {
  if (existed) await writeFile(file, "a: 1");
  const started = await readStarted(file);
  await writeFile(join(folder, "other.yaml"), "b: 1");
  await rm(file, { force: true });
  await symlink(join(folder, "other.yaml"), file);
  await expect(currentText(started)).rejects.toThrow(/leads to another file .* Restart the server/);
});

test("reads through a link that existed at the start", async () => {
  await writeFile(join(folder, "other.yaml"), "b: 1");
  await symlink(join(folder, "other.yaml"), file);
  expect(await currentText(await readStarted(file))).toBe("b: 1");
});

test("reads only a file, and no more of it than 1 MiB or the size at the start", async () => {
  const started = await readStarted(file);
  await writeFile(file, "a".repeat(1_048_576));
  expect((await currentText(started)).length).toBe(1_048_576);
  await writeFile(file, "a".repeat(1_048_577));
  await expect(currentText(started)).rejects.toThrow(/larger than 1MiB/);
  expect((await currentText(await readStarted(file))).length).toBe(1_048_577);
  await rm(file);
  await mkdir(file);
  await expect(currentText(started)).rejects.toThrow(/cannot be read/);
});
