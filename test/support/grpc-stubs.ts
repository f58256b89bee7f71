/** Clients of gRPC in other languages, generated from the published .proto once for each of its versions. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./build.ts";
import { installOnce } from "./install-once.ts";
import { installed } from "./installed.ts";
import { pythonWith } from "./python.ts";

const run = promisify(execFile);
const CACHE = join(ROOT, "node_modules", ".cache", "tidewire-grpc");
const PROTO = "tidewire/v1/live_queries.proto";
const EXAMPLE = join(ROOT, "examples", "grpc");
/** Compiling the library of Go takes minutes on a machine that has never done so. */
const BUILD_TIMEOUT_MS = 900_000;
const PLUGINS = [
  "google.golang.org/protobuf/cmd/protoc-gen-go@v1.35.2",
  "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.5.1",
];
const GO_PACKAGE = "tidewire.example/follow";

const hashOf = (...files: readonly string[]) => {
  const hash = createHash("sha256");
  for (const file of files) hash.update(readFileSync(file));
  return hash.digest("hex").slice(0, 16);
};

const missing = (what: string, error: unknown) => {
  const [line] = (error instanceof Error ? error.message : String(error)).split("\n");
  return { missing: `${what}: ${line}` };
};

/** A Python with grpcio, and the folder of its stubs for `PYTHONPATH`; a text that says why there is none. */
export async function grpcPython(): Promise<
  { readonly python: string; readonly stubs: string } | { readonly missing: string }
> {
  const requirements = readFileSync(join(EXAMPLE, "python", "requirements.txt"), "utf8")
    .trim()
    .split("\n");
  const found = await pythonWith(...requirements, "grpcio-tools==1.74.0", "grpcio-status==1.74.0");
  if ("missing" in found) return found;
  const stubs = join(CACHE, `python-${hashOf(join(ROOT, "proto", PROTO))}`);
  try {
    await installOnce(stubs, (folder) =>
      run(
        found.python,
        [
          ...["-m", "grpc_tools.protoc", "-I", "proto", `--python_out=${folder}`],
          ...[`--grpc_python_out=${folder}`, PROTO],
        ],
        { cwd: ROOT },
      ),
    );
    return { python: found.python, stubs };
  } catch (error) {
    return missing("no stubs for Python", error);
  }
}

/** The follower in Go, built; a text that says why there is none. */
export async function grpcGo(): Promise<{ readonly program: string } | { readonly missing: string }> {
  const go = installed("go");
  if (go === undefined) return { missing: "go is not installed" };
  const source = join(EXAMPLE, "go");
  const files = ["main.go", "go.mod", "go.sum"].map((name) => join(source, name));
  const built = join(CACHE, `go-${hashOf(join(ROOT, "proto", PROTO), ...files)}`);
  try {
    await installOnce(built, async (folder) => {
      const options = { timeout: BUILD_TIMEOUT_MS, env: { ...process.env, GOBIN: join(folder, "bin") } };
      for (const plugin of PLUGINS) await run(go, ["install", plugin], options);
      cpSync(source, folder, { recursive: true });
      mkdirSync(join(folder, "tidewirev1"), { recursive: true });
      await run(process.execPath, [buf(), "generate", "proto", "--template", templateFor(folder)], {
        cwd: ROOT,
      });
      await run(go, ["build", "-o", join(folder, "follow"), "."], { ...options, cwd: folder });
    });
    return { program: join(built, "follow") };
  } catch (error) {
    return missing("the follower in Go could not be built", error);
  }
}

const buf = () =>
  join(dirname(createRequire(import.meta.url).resolve("@bufbuild/buf/package.json")), "bin", "buf");

function templateFor(folder: string): string {
  const opt = [`module=${GO_PACKAGE}`, `M${PROTO}=${GO_PACKAGE}/tidewirev1`];
  const plugins = ["protoc-gen-go", "protoc-gen-go-grpc"].map((name) => ({
    local: join(folder, "bin", name),
    out: folder,
    opt,
  }));
  return JSON.stringify({ version: "v2", plugins });
}
