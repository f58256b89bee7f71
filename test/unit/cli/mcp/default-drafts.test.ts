import { mkdir, mkdtemp, realpath, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, parse } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { defaultDrafts, homeFolders } from "../../../../src/cli/mcp/default-drafts.ts";

let users: string;
beforeAll(async () => {
  users = await realpath(await mkdtemp(join(tmpdir(), "tidewire-homes-")));
  await mkdir(join(users, "ada", "shop"), { recursive: true });
  await mkdir(join(users, "..ada"));
  await symlink(join(users, "ada"), join(users, "link"));
});
afterAll(() => rm(users, { recursive: true, force: true }));

const at = (...parts: string[]) => join(users, ...parts);

test("takes a working directory below the home directory, or beside it", () => {
  for (const folder of [at("ada", "shop"), at("link", "shop"), at("..ada")])
    expect(defaultDrafts(folder, [at("ada")])).toBe(folder);
});

test("takes none that contains the home directory, however both are written", () => {
  const homes = [at("ada"), `${at("ada")}/`, at("link"), at("ada", "..", "ada")];
  for (const home of homes)
    for (const folder of [at("ada"), at("link"), users, dirname(users), parse(users).root])
      expect([folder, home, defaultDrafts(folder, [home])]).toEqual([folder, home, null]);
  expect(defaultDrafts(users, [at("elsewhere"), at("ada")])).toBeNull();
  expect(defaultDrafts(users, [at("missing")])).toBeNull();
});

test("takes none if the system names no home directory, or in the root", () => {
  expect(defaultDrafts(at("ada", "shop"), [])).toBeNull();
  expect(defaultDrafts("/", ["//"])).toBeNull();
});

test("knows the home directory of the account besides that of the environment", () => {
  expect(homeFolders().length).toBeGreaterThan(0);
});
