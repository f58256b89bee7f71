// Writes the bill of materials of what is shipped, CycloneDX out of the lockfile: `npm run sbom`, into sbom.json.
// `-- --all` adds the tools of development, `-- --stdout` prints it instead. Needs no network.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({ options: { all: { type: "boolean" }, stdout: { type: "boolean" } } });
const root = fileURLToPath(new URL("..", import.meta.url));
const args = ["sbom", "--sbom-format=cyclonedx", "--package-lock-only", "--offline"];
const { status, stdout, stderr } = spawnSync("npm", args, {
  cwd: root,
  encoding: "utf8",
  maxBuffer: 64 * 1_048_576,
});
if (status !== 0) {
  process.stderr.write(stderr);
  process.exit(1);
}
const read = (file) => JSON.parse(readFileSync(`${root}/${file}`, "utf8"));
const bom = JSON.parse(stdout);
// npm takes the name of the folder.
bom.metadata.component.name = read("package.json").name;
// npm's own --omit=dev leaves out what a tool depends on as well, such as ws and zod.
if (!values.all) keepShipped(bom, read("package-lock.json").packages);

function keepShipped(bom, packages) {
  const shipped = new Set();
  for (const [path, { version, dev, devOptional }] of Object.entries(packages)) {
    if (!dev && !devOptional) shipped.add(`${path.split("node_modules/").at(-1)}@${version}`);
  }
  bom.components = bom.components.filter(({ name, version }) => shipped.has(`${name}@${version}`));
  const refs = new Set([bom.metadata.component, ...bom.components].map((component) => component["bom-ref"]));
  bom.dependencies = bom.dependencies
    .filter(({ ref }) => refs.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter((name) => refs.has(name)) }));
}

const text = `${JSON.stringify(bom, null, 2)}\n`;
if (values.stdout) process.stdout.write(text);
else {
  writeFileSync(`${root}/sbom.json`, text);
  process.stdout.write(`sbom.json: ${bom.components.length} components\n`);
}
