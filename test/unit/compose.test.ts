/** There may be no Docker where the tests run, so that what the files name exists is checked by reading them. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { parseConfig } from "../../src/config/config.ts";
import { GrpcOptions } from "../../src/gateway/grpc-options.ts";
import { ServerOptions } from "../../src/gateway/options.ts";
import { ROOT } from "../support/build.ts";

const read = (file: string) => readFileSync(join(ROOT, file), "utf8");

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly user?: string;
  readonly privileged?: boolean;
  readonly profiles?: readonly string[];
  readonly network_mode?: string;
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

// The shape is what this test looks at; a file of another shape makes it fail, as it should.
const compose = parse(read("docker-compose.yml"), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const services = Object.entries(compose.services);
const service = compose.services["tidewire"];
const dockerfile = read("Dockerfile");
const config = read("config/tidewire.yaml");
const defaults = ServerOptions.parse({});

/** `${NAME}` and `${NAME:-default}` in the configuration, comments left out. */
function configVariables(): { name: string; hasDefault: boolean }[] {
  const text = config.replaceAll(/(^|\s)#.*$/gm, "");
  return Array.from(text.matchAll(/(?<!\$)\$\{([A-Za-z_]\w*)(:-)?/g), ([, name = "", fallback]) => ({
    name,
    hasDefault: fallback !== undefined,
  }));
}

test("every volume that is mounted exists, as a folder here or as a named volume", () => {
  for (const [, { volumes = [] }] of services) {
    for (const volume of volumes) {
      const [source = ""] = volume.split(":");
      const exists = source.startsWith(".") ? existsSync(join(ROOT, source)) : source in compose.volumes;
      expect(exists, volume).toBe(true);
    }
  }
});

test("a service waits only for what can become healthy, or end", () => {
  for (const [name, { depends_on = {} }] of services) {
    for (const [dependency, { condition }] of Object.entries(depends_on)) {
      expect(compose.services, name).toHaveProperty([dependency]);
      if (condition === "service_completed_successfully") continue;
      expect(condition, name).toBe("service_healthy");
      expect(compose.services[dependency]?.healthcheck, dependency).toBeDefined();
    }
  }
});

test.each(services)("%s runs without rights that it does not need", (_name, options) => {
  expect(options).toMatchObject({
    read_only: true,
    cap_drop: ["ALL"],
    security_opt: ["no-new-privileges:true"],
  });
  expect(options.user).toMatch(/^[1-9]\d*:[1-9]\d*$/);
  expect([options.cap_add, options.privileged]).toEqual([undefined, undefined]);
  // Neither the engine's socket nor a folder of the host that may be written to.
  for (const volume of options.volumes ?? []) {
    if (/^[./~]/.test(volume)) expect(volume).toMatch(/^\.\/[\w./-]+:[\w./-]+:ro$/);
  }
});

test("images are pinned to exact versions", () => {
  const base = Array.from(dockerfile.matchAll(/^FROM (\S+)/gm), ([, image = ""]) => image);
  const images = [...services.flatMap(([, { image = [] }]) => image), ...base];
  expect(images.length).toBeGreaterThanOrEqual(4);
  for (const image of images)
    expect(image).toMatch(/^(\w+\/)?\w+:v?\d+\.\d+\.\d+(-[a-z-]+)?(@sha256:[0-9a-f]{64})?$/);
  expect(new Set(base).size).toBe(1);
});

test("no secret is committed: each has a name in .env.example, without a value, and compose insists on it", () => {
  const names = Array.from(read(".env.example").matchAll(/^(\w+)=(.*)$/gm), ([, name = "", value]) => {
    expect(value, name).toBe("");
    return name;
  });
  const used = new Set(
    Array.from(read("docker-compose.yml").matchAll(/\$\{(\w+)(:\?|:-\})/g), ([, name = "", kind = ""]) => {
      if (name !== "TIDEWIRE_ADMIN_TOKEN") expect(kind, name).toBe(":?");
      return name;
    }),
  );
  expect([...used].sort()).toEqual(names.sort());
  expect(read(".gitignore").split("\n")).toContain(".env");
});

test("the environment sets variables that the configuration uses, and all that it must have", () => {
  const set = Object.keys(service?.environment ?? {});
  const used = configVariables();
  expect(set.filter((name) => !used.some((variable) => variable.name === name))).toEqual([]);
  const required = used.filter(({ hasDefault }) => !hasDefault).map(({ name }) => name);
  expect(required.filter((name) => !set.includes(name))).toEqual([]);
});

test("MongoDB wants a login, and is initiated under the name and the address that the service connects to", () => {
  const { command = [], healthcheck, volumes = [] } = compose.services["mongodb"] ?? {};
  const uri = service?.environment?.["MONGODB_URI"] ?? "";
  const form =
    /^mongodb:\/\/(\w+):\$\{MONGODB_PASSWORD:\?[^}]*\}@([\w:]+)\/\?replicaSet=(\w+)&authSource=admin$/;
  const [, user = "?", host = "?", replicaSet = "?"] = form.exec(uri) ?? [];
  const script = healthcheck?.test.at(-1) ?? "";
  const file = volumes.find((volume) => volume.includes(`:${script}:`))?.split(":")[0] ?? "";
  const setup = read(file);
  expect(setup).toContain(`host: "${host}"`);
  expect(setup).toContain(`_id: "${replicaSet}"`);
  expect(setup).toContain(`createUser: "${user}"`);
  expect(command.slice(0, 2)).toEqual(["--replSet", replicaSet]);
  expect(command).toContain("--keyFile");
  expect(host.split(":")[0]).toBe("mongodb");
});

test("the port of the clients is published on this machine only, the admin port not at all", () => {
  expect(service?.ports).toEqual([`127.0.0.1:${defaults.port}:${defaults.port}`]);
  expect(dockerfile).toMatch(new RegExp(`^EXPOSE ${defaults.port} ${GrpcOptions.parse({}).port}$`, "m"));
  expect(dockerfile).toContain(`http://127.0.0.1:${defaults.admin.port}/livez`);
});

test("gRPC is off, and on for this machine alone once its line is no comment in both files", () => {
  const env = { TIDEWIRE_JWT_SECRET: "s".repeat(48), TIDEWIRE_HOST: "0.0.0.0" };
  const grpcOf = (text: string) => {
    const parsed = parseConfig(text, "tidewire.yaml", env);
    return parsed.ok ? parsed.config.server.grpc : parsed.problems;
  };
  const { port } = GrpcOptions.parse({});
  expect(grpcOf(config)).toBeUndefined();
  expect(grpcOf(config.replace("# grpc:", "grpc:"))).toMatchObject({ host: "0.0.0.0", port });
  const edited = read("docker-compose.yml").replace(`# - 127.0.0.1:${port}`, `- 127.0.0.1:${port}`);
  expect(parse(edited, { merge: true }).services.tidewire.ports).toEqual([
    `127.0.0.1:${defaults.port}:${defaults.port}`,
    `127.0.0.1:${port}:${port}`,
  ]);
});

test("the image copies what exists and is not held back, runs what is built, and not as root", () => {
  const copied = Array.from(dockerfile.matchAll(/^COPY (?!--from)(.+) \S+$/gm), ([, files = ""]) =>
    files.split(" "),
  );
  const letIn = read(".dockerignore").split("\n");
  for (const file of copied.flat()) {
    expect(existsSync(join(ROOT, file)), file).toBe(true);
    expect(letIn, file).toContain(`!${file}`);
  }
  const { bin } = JSON.parse(read("package.json")) as { bin: Record<string, string> };
  expect(dockerfile).toContain(`ENTRYPOINT ["node", "${bin["tidewire"]}"]`);
  const lastStage = dockerfile.slice(dockerfile.lastIndexOf("FROM "));
  expect(lastStage).toMatch(/^USER node$/m);
});

test("the configuration that the image starts with is the one that is mounted", () => {
  const [, file = ""] = /^CMD \["start", "--config", "([^"]+)"\]$/m.exec(dockerfile) ?? [];
  expect(existsSync(join(ROOT, file))).toBe(true);
  expect(service?.volumes).toContain(`./${file.split("/")[0]}:/app/${file.split("/")[0]}:ro`);
});

test("Prometheus and Grafana start with the profile monitoring alone, and the admin listener stays on loopback", () => {
  const monitoring = services.filter(([, { profiles }]) => profiles?.includes("monitoring"));
  expect(monitoring.map(([name]) => name)).toEqual(["prometheus", "grafana"]);
  expect(compose.services["prometheus"]?.network_mode).toBe("service:tidewire");
  expect(read("config/prometheus/prometheus.yml")).toContain(`"127.0.0.1:${defaults.admin.port}"`);
  expect(compose.services["grafana"]?.ports).toEqual(["127.0.0.1:3000:3000"]);
});

test("the image has the packages for Redis, RabbitMQ and gRPC, in the versions of the lock file and with all that they need", () => {
  const moved = /mv (node_modules\/.+?) \/optional\/ && mv (.+?) \/optional\/(\S+)/.exec(dockerfile);
  expect(moved?.slice(1)).toEqual([
    "node_modules/@redis node_modules/amqplib node_modules/@connectrpc",
    "node_modules/@bufbuild/protobuf",
    "@bufbuild/",
  ]);
  expect(dockerfile).toContain("COPY --from=build /optional ./node_modules");
  // The form of npm's own file.
  const { packages } = JSON.parse(read("package-lock.json")) as {
    packages: Record<string, { version: string; dependencies?: object; peerDependencies?: object }>;
  };
  const names = [
    ...["@redis/client", "amqplib"],
    ...["@connectrpc/connect", "@connectrpc/connect-node", "@bufbuild/protobuf"],
  ];
  for (const name of names) {
    const client = packages[`node_modules/${name}`];
    expect(client?.version).toBe(JSON.parse(read("package.json")).devDependencies[name]);
    expect(client?.dependencies, `a dependency of ${name} has to be copied as well`).toBeUndefined();
    if (!name.startsWith("@redis"))
      expect(names).toEqual(expect.arrayContaining(Object.keys(client?.peerDependencies ?? {})));
  }
});
