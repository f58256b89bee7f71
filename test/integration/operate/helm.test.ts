/** config/helm/tidewire, rendered by Helm and compared with the schemas of Kubernetes. */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, type TestContext, test } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { parseConfig } from "../../../src/config/config.ts";
import { ROOT } from "../../support/build.ts";
import { installed, skipWithout } from "../../support/installed.ts";
import { findHelm, validate, validateOperator } from "../../support/kubernetes.ts";

const run = promisify(execFile);
const CHART = join(ROOT, "config", "helm", "tidewire");
const VALUES = {
  sharedSecret: ["-f", join(CHART, "ci", "shared-secret.yaml")],
  minimal: ["-f", join(CHART, "ci", "minimal.yaml")],
  everything: ["-f", join(CHART, "ci", "everything.yaml")],
};
type Fields = Record<string, unknown>;
interface Document {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly labels: Fields };
  // Each kind has its own fields; the schemas check them.
  readonly spec: never;
  readonly data: Readonly<Record<string, string>>;
}

async function helmOf(skip: TestContext["skip"]) {
  const found = await findHelm();
  if ("missing" in found) return skipWithout(skip, found.missing);
  return async (command: string, args: readonly string[]) =>
    (await run(found.helm, [command, ...args], { maxBuffer: 2 ** 24 })).stdout;
}

const documentsOf = (text: string): Document[] =>
  parseAllDocuments(text)
    .map((document) => document.toJS() as Document | null)
    .filter((document) => document !== null);

function oneOf(documents: readonly Document[], kind: string): Document {
  const found = documents.find((document) => document.kind === kind);
  if (found === undefined) throw new Error(`no ${kind}`);
  return found;
}

test.for(Object.entries(VALUES))(
  "the chart with the values %s is accepted by the linter, the oldest and the newest Kubernetes, and the service",
  async ([name, values], { skip }) => {
    const helm = await helmOf(skip);
    await helm("lint", ["--strict", CHART, ...values]);
    const text = await helm("template", ["live", CHART, "--namespace", "shop", ...values]);
    const documents = documentsOf(text);
    const folder = await mkdtemp(join(tmpdir(), "tidewire-helm-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    for (const version of ["1.27", "1.37"]) {
      const found = await validate(join(folder, "all.yaml"), text, version);
      if ("missing" in found) skipWithout(skip, found.missing);
      const { valid, unknown } = found;
      expect([...unknown].sort()).toEqual(name === "everything" ? ["PrometheusRule", "ServiceMonitor"] : []);
      expect(valid.length + unknown.length).toBe(documents.length);
    }
    const env = { MONGODB_URI: "mongodb://db/?replicaSet=rs0", POD_IP: "10.1.2.3" };
    const secrets = {
      TIDEWIRE_JWT_SECRET: randomBytes(32).toString("hex"),
      TIDEWIRE_ADMIN_TOKEN: randomBytes(32).toString("hex"),
    };
    const file = oneOf(documents, "ConfigMap").data["tidewire.yaml"] ?? "";
    const parsed = parseConfig(file, "tidewire.yaml", { ...env, ...secrets });
    expect(parsed.ok ? [] : parsed.problems).toEqual([]);
  },
);

test("a pod has no rights to spare, the time to drain, and probes on the admin listener", async ({
  skip,
}) => {
  const helm = await helmOf(skip);
  const documents = documentsOf(await helm("template", ["live", CHART, ...VALUES.everything]));
  const { template, replicas, strategy } = oneOf(documents, "Deployment").spec as {
    replicas?: number;
    strategy: Fields;
    template: { spec: Fields & { containers: (Fields & { env: Fields[] })[] } };
  };
  expect(replicas).toBeUndefined();
  expect(strategy).toMatchObject({ rollingUpdate: { maxUnavailable: 0 } });
  expect(template.spec).toMatchObject({
    terminationGracePeriodSeconds: 77,
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
  });
  const [container] = template.spec.containers;
  expect(container).toMatchObject({
    image: expect.stringMatching(/@sha256:[0-9a-f]{64}$/),
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    },
    lifecycle: { preStop: { exec: { command: ["sleep", "7"] } } },
    livenessProbe: { httpGet: { path: "/livez", port: "admin" } },
    readinessProbe: { httpGet: { path: "/readyz", port: "admin" } },
  });
  // Each variable of the configuration comes from a Secret, or from the pod.
  for (const { name, valueFrom } of container?.env ?? [])
    expect([name === "NODE_OPTIONS", valueFrom !== undefined], String(name)).toContain(true);
  expect(container?.env.filter(({ value }) => value !== undefined).length).toBe(1);
  const services = documents.filter(({ kind }) => kind === "Service");
  const ports = services.map(({ spec }) =>
    (spec as { ports: { name: string }[] }).ports.map(({ name }) => name),
  );
  expect(ports).toEqual([["clients"], ["grpc"], ["admin"]]);
  const monitor = oneOf(documents, "ServiceMonitor").spec as {
    selector: { matchLabels: Fields };
    jobLabel: string;
  };
  expect(services[2]?.metadata.labels).toMatchObject(monitor.selector.matchLabels);
  expect(services[2]?.metadata.labels[monitor.jobLabel]).toContain("tidewire");
});

interface Port {
  readonly name?: string;
  readonly port?: number | string;
  readonly containerPort?: number;
  readonly appProtocol?: string;
}

/** The parts of the rendered chart that serve gRPC. */
function grpcOf(documents: readonly Document[]) {
  const named = (ports: readonly Port[] = []) => ports.filter(({ name, port }) => (name ?? port) === "grpc");
  const service = documents.find(
    ({ kind, spec }) => kind === "Service" && named((spec as { ports: Port[] }).ports).length > 0,
  );
  const policy = documents.find(({ kind }) => kind === "NetworkPolicy")?.spec as
    | { ingress: { ports: Port[]; from?: object[] }[] }
    | undefined;
  const pod = oneOf(documents, "Deployment").spec as {
    template: { spec: { containers: { ports: Port[] }[] } };
  };
  return {
    configured: parse(oneOf(documents, "ConfigMap").data["tidewire.yaml"] ?? "").server.grpc,
    container: named(pod.template.spec.containers[0]?.ports),
    service: service && { name: service.metadata.name, ...(service.spec as object) },
    senders: policy?.ingress.find(({ ports }) => named(ports).length > 0)?.from,
  };
}

test("the chart serves gRPC on a Service of its own where the configuration has the section, and nowhere else", async ({
  skip,
}) => {
  const helm = await helmOf(skip);
  const rendered = async (...args: readonly string[]) =>
    grpcOf(documentsOf(await helm("template", ["live", CHART, ...args])));
  const container = [{ name: "grpc", containerPort: 8482, protocol: "TCP" }];

  const off = { configured: undefined, container: [], service: undefined, senders: undefined };
  const policy = ["--set", "networkPolicy.enabled=true"];
  expect(await rendered(...VALUES.sharedSecret, ...policy)).toEqual(off);
  // A section that one file of values has is removed by null in another one.
  const without = ["--set-json", "config.server.grpc=null"];
  expect(await rendered(...VALUES.everything, ...without)).toEqual(off);

  const on = await rendered(...VALUES.sharedSecret, ...policy, "--set-json", "config.server.grpc={}");
  expect(on).toMatchObject({ configured: { host: "0.0.0.0", port: 8482 }, container });
  expect(on.service).toMatchObject({
    name: "live-tidewire-grpc",
    type: "ClusterIP",
    ports: [{ port: 8482, targetPort: "grpc", appProtocol: "kubernetes.io/h2c" }],
  });
  // Nobody may reach it until the values name the senders.
  expect(on.senders).toBeUndefined();

  const all = await rendered(...VALUES.everything);
  expect(all).toMatchObject({ configured: { port: 8482, idleTimeout: "10m" }, container });
  // The load balancer of the clients does not publish it.
  expect(all.service).toMatchObject({ type: "ClusterIP", ports: [{ port: 50_051 }] });
  expect(all.senders).toEqual([{ podSelector: { matchLabels: { "example.com/calls": "live" } } }]);

  const tls = '{"tls":{"cert":"/etc/tls/cert.pem","key":"/etc/tls/key.pem"}}';
  const secure = await rendered(...VALUES.everything, "--set-json", `config.server.grpc=${tls}`);
  expect(secure.service).toMatchObject({
    ports: [expect.not.objectContaining({ appProtocol: "kubernetes.io/h2c" })],
  });
});

test("the chart holds the rules and the alerts of config/prometheus, and gives them the address of the pages", async ({
  skip,
}) => {
  for (const file of ["rules.yml", "alerts.yml"])
    expect(
      await readFile(join(CHART, "files", file), "utf8"),
      `cp config/prometheus/${file} into the chart`,
    ).toBe(await readFile(join(ROOT, "config", "prometheus", file), "utf8"));
  const helm = await helmOf(skip);
  const documents = documentsOf(await helm("template", ["live", CHART, ...VALUES.everything]));
  const { spec } = oneOf(documents, "PrometheusRule");
  const promtool = installed("promtool");
  if (promtool === undefined) skipWithout(skip, "no promtool");
  const folder = await mkdtemp(join(tmpdir(), "tidewire-helm-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, "rules.yml"), JSON.stringify(spec));
  const { stdout } = await run(promtool, ["check", "rules", join(folder, "rules.yml")]);
  const alerts = parse(await readFile(join(CHART, "files", "alerts.yml"), "utf8")) as {
    groups: { rules: unknown[] }[];
  };
  const rules = parse(await readFile(join(CHART, "files", "rules.yml"), "utf8")) as {
    groups: { rules: unknown[] }[];
  };
  const count = [...rules.groups, ...alerts.groups].reduce((sum, group) => sum + group.rules.length, 0);
  expect(stdout).toContain(`${count} rules found`);
  expect(JSON.stringify(spec)).toContain(
    "https://docs.example.com/tidewire/docs/operations.md#tidewirenodedown",
  );
});

test.for([
  ["a password in mongodb.uri", "config.mongodb.uri=mongodb://tidewire:secret@db/"],
  ["a secret in place of its variable", "config.auth.jwt.secret=0123456789abcdef0123456789abcdef"],
  ["an admin token in place of its variable", "config.server.admin.token=0123456789abcdef"],
  ["a misspelled value", "replica=3"],
  ["a misspelled value of the Service for gRPC", "grpcService.ports=8482"],
  ["a configuration without collections", "config.collections=null"],
])("the chart refuses %s", async ([, set = ""], { skip }) => {
  const helm = await helmOf(skip);
  const args = ["live", CHART, ...VALUES.sharedSecret];
  await helm("template", args);
  const option = set.endsWith("=null") ? "--set" : "--set-string";
  await expect(helm("template", [...args, option, set])).rejects.toThrow(/schema/);
});

test("the resources of the Prometheus operator agree with its schemas, and a mistake in one does not", async ({
  skip,
}) => {
  const helm = await helmOf(skip);
  const text = await helm("template", ["live", CHART, ...VALUES.everything]);
  const custom = documentsOf(text).filter(({ kind }) => /^(?:ServiceMonitor|PrometheusRule)$/.test(kind));
  const kinds = await validateOperator(custom);
  if ("missing" in kinds) skipWithout(skip, kinds.missing);
  expect(kinds.sort()).toEqual(["PrometheusRule", "ServiceMonitor"]);
  const wrong = {
    ...oneOf(custom, "PrometheusRule"),
    spec: { groups: [{ name: "a", rules: [{ alert: "A" }] }] },
  };
  await expect(validateOperator([wrong])).rejects.toThrow(/expr/);
});
