/** There may be no Docker where the tests run, so that what the files name exists is checked by reading them. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { ServerOptions } from "../../src/gateway/options.ts";
import { ROOT } from "../support/build.ts";

const read = (file: string) => readFileSync(join(ROOT, file), "utf8");

interface Service {
  readonly image?: string;
  readonly build?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes?: readonly string[];
  readonly ports?: readonly string[];
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
}

// The shape is what this test looks at; a file of another shape makes it fail, as it should.
const compose = parse(read("docker-compose.yml")) as {
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

test("whom a service waits for can become healthy", () => {
  for (const [name, { depends_on = {} }] of services) {
    for (const [dependency, { condition }] of Object.entries(depends_on)) {
      expect(condition, name).toBe("service_healthy");
      expect(compose.services[dependency]?.healthcheck, dependency).toBeDefined();
    }
  }
});

test("the environment sets variables that the configuration uses, and all that it must have", () => {
  const set = Object.keys(service?.environment ?? {});
  const used = configVariables();
  expect(set.filter((name) => !used.some((variable) => variable.name === name))).toEqual([]);
  const required = used.filter(({ hasDefault }) => !hasDefault).map(({ name }) => name);
  expect(required.filter((name) => !set.includes(name))).toEqual([]);
});

test("MongoDB is initiated under the name and the address that the service connects to", () => {
  const mongodb = compose.services["mongodb"];
  const initiation = mongodb?.healthcheck?.test.join(" ") ?? "";
  const uri = service?.environment?.["MONGODB_URI"] ?? "";
  const [, host = "?", replicaSet = "?"] = /^mongodb:\/\/([^/]+)\/\?replicaSet=(\w+)$/.exec(uri) ?? [];
  expect(initiation).toContain(`host: "${host}"`);
  expect(initiation).toContain(`_id: "${replicaSet}"`);
  expect(mongodb).toMatchObject({ command: expect.arrayContaining(["--replSet", replicaSet]) });
  expect(host.split(":")[0]).toBe("mongodb");
});

test("the port of the clients is published on this machine only, the admin port not at all", () => {
  expect(service?.ports).toEqual([`127.0.0.1:${defaults.port}:${defaults.port}`]);
  expect(dockerfile).toMatch(new RegExp(`^EXPOSE ${defaults.port}$`, "m"));
  expect(dockerfile).toContain(`http://127.0.0.1:${defaults.admin.port}/livez`);
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
