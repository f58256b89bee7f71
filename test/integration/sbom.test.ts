/** `npm run sbom`: a bill of materials that scanners take, equal to the lockfile. */
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { ROOT } from "../support/build.ts";
import type { LockedPackage } from "../support/licences.ts";

const run = promisify(execFile);

interface Component {
  readonly type: string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly "bom-ref": string;
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
  readonly licenses?: readonly unknown[];
}

interface Bom {
  readonly bomFormat: string;
  readonly specVersion: string;
  readonly serialNumber: string;
  readonly version: number;
  readonly metadata: { readonly timestamp: string; readonly component: Component };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

async function sbom(...flags: string[]): Promise<Bom> {
  const args = ["run", "--silent", "sbom", "--", "--stdout", ...flags];
  const { stdout } = await run("npm", args, { cwd: ROOT, maxBuffer: 64 * 1_048_576 });
  return JSON.parse(stdout);
}

const read = (file: string) => JSON.parse(readFileSync(join(ROOT, file), "utf8"));

/** `name@version` of the lockfile's packages. */
function locked(isMeant: (entry: LockedPackage) => boolean): string[] {
  const packages = Object.entries(read("package-lock.json").packages as Record<string, LockedPackage>);
  const named = packages.flatMap(([path, entry]) => {
    const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
    return path === "" || !isMeant(entry) ? [] : [`${name}@${entry.version}`];
  });
  return [...new Set(named)].sort();
}

const namesOf = ({ components }: Bom) =>
  [...new Set(components.map(({ name, version }) => `${name}@${version}`))].sort();

test("npm run sbom gives CycloneDX with every shipped dependency of the lockfile, and no other", async () => {
  const bom = await sbom();
  expect(bom).toMatchObject({ bomFormat: "CycloneDX", specVersion: "1.5", version: 1 });
  expect(bom.serialNumber).toMatch(/^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  expect(Number.isNaN(Date.parse(bom.metadata.timestamp))).toBe(false);
  const { name, version } = read("package.json");
  expect(bom.metadata.component).toMatchObject({ name, version, purl: `pkg:npm/${name}@${version}` });
  expect(namesOf(bom)).toEqual(locked(({ dev, devOptional }) => dev !== true && devOptional !== true));

  const refs = new Set([bom.metadata.component, ...bom.components].map((component) => component["bom-ref"]));
  for (const component of bom.components) {
    expect(component.type).toBe("library");
    expect(component.purl).toMatch(/^pkg:npm\/.+@.+$/);
    expect(component.hashes?.[0]?.alg, component.name).toBe("SHA-512");
    expect(component.licenses?.length, component.name).toBeGreaterThan(0);
  }
  for (const { ref, dependsOn } of bom.dependencies) {
    for (const each of [ref, ...dependsOn]) expect(refs.has(each), each).toBe(true);
  }
});

test("npm run sbom -- --all has the tools of development, too", async () => {
  expect(namesOf(await sbom("--all"))).toEqual(locked(() => true));
});
