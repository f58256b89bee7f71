import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { deferred } from "../../../src/feed/deferred.ts";
import { cacheDirectory, type FindMongodOptions, findMongod } from "../../../src/source/mongod-binary.ts";
import type { Download } from "../../../src/source/mongod-download.ts";
import { StartupError } from "../../../src/source/startup-error.ts";

const path = join("opt", "bin", "mongod");
const old = join("opt", "old", "mongod");
/** The binaries that run on this imagined machine; any other path answers like a missing file. */
let versions: Map<string, string>;
let cacheHome: string;
let log: string[];

beforeEach(async () => {
  versions = new Map();
  log = [];
  cacheHome = await mkdtemp(join(tmpdir(), "tidewire-cache-"));
  const made = cacheHome;
  return () => rm(made, { recursive: true, force: true });
});

function machine(env: NodeJS.ProcessEnv = {}, rest: Partial<FindMongodOptions> = {}): FindMongodOptions {
  const write = (_details: unknown, text?: string) => void log.push(text ?? "");
  return {
    // The logger's methods have several signatures, of which findMongod uses this one.
    logger: { info: write, warn: write } as unknown as FindMongodOptions["logger"],
    env: { XDG_CACHE_HOME: cacheHome, ...env },
    readVersion: async (binary) => {
      const version = versions.get(binary);
      if (version === undefined) throw new Error(`spawn ${binary} ENOENT`);
      return version;
    },
    downloads: new Map(),
    ...rest,
  };
}

const fetched: Download = async (directory, onProgress) => {
  onProgress({ source: "there", receivedBytes: 1_000_000, totalBytes: 4_000_000 });
  const binary = join(directory, "mongod-fetched");
  versions.set(binary, "6.0.5");
  return binary;
};
const failing =
  (reason: string): Download =>
  async () => {
    throw new Error(reason);
  };

test("the variable goes before everything else", async () => {
  versions.set("named", "7.0.1").set("configured", "7.0.2").set(path, "7.0.3");
  const env = { MONGOMS_SYSTEM_BINARY: "named", PATH: join("opt", "bin") };
  const found = await findMongod(machine(env, { binary: "configured" }));
  expect(found).toEqual({ path: "named", version: "7.0.1", origin: "MONGOMS_SYSTEM_BINARY" });
  expect(log).toEqual(["embedded mongod 7.0.1, from MONGOMS_SYSTEM_BINARY"]);
});

test("the configured path goes before the PATH", async () => {
  versions.set("configured", "5.0.0").set(path, "7.0.3");
  const found = await findMongod(machine({ PATH: join("opt", "bin") }, { binary: "configured" }));
  expect(found).toMatchObject({ path: "configured", origin: "the configured path" });
});

test.each<[string, string | undefined, RegExp]>([
  ["does not run", undefined, /names named, which cannot be run\..*5\.0 or newer.*\n- spawn named ENOENT/s],
  ["is too old", "4.4.29", /names named, a mongod 4\.4\.29, which is too old/],
])("a named binary that %s is an error, never passed over", async (_name, version, text) => {
  if (version !== undefined) versions.set("named", version);
  versions.set(path, "7.0.3");
  const finding = findMongod(machine({ MONGOMS_SYSTEM_BINARY: "named", PATH: join("opt", "bin") }));
  await expect(finding).rejects.toThrow(StartupError);
  await expect(finding).rejects.toThrow(text);
});

test("an older mongod on the PATH is passed over, a later one taken", async () => {
  versions.set(old, "4.4.29").set(path, "5.0.0");
  const PATH = [join("opt", "none"), join("opt", "old"), join("opt", "bin")].join(delimiter);
  expect(await findMongod(machine({ PATH }))).toEqual({ path, version: "5.0.0", origin: "the PATH" });
  expect(log[0]).toMatch(/older than 5\.0/);
});

test("what was fetched once comes from the cache the next time, before any download", async () => {
  const first = await findMongod(machine({}, { downloads: new Map([["there", fetched]]) }));
  expect(first).toMatchObject({ version: "6.0.5", origin: "there" });
  const second = await findMongod(machine({}, { downloads: new Map([["there", failing("asked again")]]) }));
  expect(second).toEqual({ ...first, origin: "the cache" });
});

test("the PATH goes before the cache", async () => {
  await findMongod(machine({}, { downloads: new Map([["there", fetched]]) }));
  versions.set(path, "8.0.0");
  expect((await findMongod(machine({ PATH: join("opt", "bin") }))).origin).toBe("the PATH");
});

test.each([
  ["is no JSON", "{"],
  ["names a binary that is gone", '{"path":"gone"}'],
  ["holds something else", "7"],
])("a cache record that %s is no hit", async (_name, record) => {
  const directory = cacheDirectory({ XDG_CACHE_HOME: cacheHome });
  await mkdir(directory, { recursive: true });
  await writeFile(join(directory, "mongod.json"), record);
  const found = await findMongod(machine({}, { downloads: new Map([["there", fetched]]) }));
  expect(found.origin).toBe("there");
});

test("downloads are tried in order, the log and the caller see how far they are", async () => {
  const downloads = new Map([
    ["first", failing("no such host")],
    ["second", fetched],
  ]);
  const seen: number[] = [];
  const onProgress = ({ receivedBytes }: { receivedBytes: number }) => void seen.push(receivedBytes);
  expect((await findMongod(machine({}, { downloads, onProgress }))).origin).toBe("second");
  expect(seen).toEqual([1_000_000]);
  expect(log).toEqual([
    expect.stringContaining("fetching one from first"),
    "no mongod from first",
    expect.stringContaining("fetching one from second"),
    "downloading mongod: 1.0 MB of 4.0 MB",
    "embedded mongod 6.0.5, from second",
  ]);
});

test("a download that reports nothing is reported as a wait", async () => {
  const answered = deferred();
  const slow: Download = async (...args) => {
    await answered.promise;
    return fetched(...args);
  };
  const downloads = new Map([["a slow server", slow]]);
  const found = findMongod(machine({}, { downloads, progressEveryMs: 5 }));
  await expect.poll(() => log.at(-1), { interval: 1 }).toMatch(/^waiting for a slow server \(\d+ s\)$/);
  answered.resolve();
  expect((await found).origin).toBe("a slow server");
});

test("when every way fails, one error says what was tried and what to do", async () => {
  const downloads = new Map([
    ["first", failing("no such host")],
    ["second", failing("no python3")],
  ]);
  const error: unknown = await findMongod(machine({}, { downloads })).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(StartupError);
  const { message } = error as StartupError;
  for (const part of [
    "Install MongoDB 5.0 or newer",
    "set MONGOMS_SYSTEM_BINARY",
    "set MONGODB_URI",
    "- first: no such host",
    "- second: no python3",
  ]) {
    expect(message).toContain(part);
  }
});

test.each([
  [{ XDG_CACHE_HOME: "/x" }, join("/x", "tidewire")],
  [{ HOME: "/u" }, join("/u", ".cache", "tidewire")],
  [{ XDG_CACHE_HOME: "", HOME: "/u" }, join("/u", ".cache", "tidewire")],
])("with %j the cache is %s", (env, expected) => {
  expect(cacheDirectory(env)).toBe(expected);
});
