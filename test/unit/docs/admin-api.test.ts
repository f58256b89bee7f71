/** docs/admin-api.json is written from the table of endpoints, and docs/admin-api.md names each of them. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { API } from "../../../src/admin/api/endpoint.ts";
import { ENDPOINTS } from "../../../src/admin/api/endpoints.ts";
import { openApi } from "../../../src/admin/api/openapi.ts";
import { ROOT } from "../../support/build.ts";

const textOf = (name: string) => readFileSync(join(ROOT, "docs", name), "utf8");

test("docs/admin-api.json is current; npm run generate writes it", () => {
  expect(textOf("admin-api.json")).toBe(`${JSON.stringify(openApi(), null, 2)}\n`);
});

test("the page lists every endpoint with its role, and no other", () => {
  const rows = Array.from(
    textOf("admin-api.md").matchAll(/^\| `(GET|POST|DELETE) (\S+)` \| `?([\w -]+)`? \|/gm),
  );
  const listed = rows.map(([, method, path, role]) => `${method} ${path} ${role}`);
  const roleOf = { anyone: "anyone", "any-admin": "any admin" } as Record<string, string>;
  const specs = Object.values(ENDPOINTS).map(
    ({ method, path, role }) => `${method} ${API}${path} ${roleOf[role] ?? role}`,
  );
  expect(listed.toSorted()).toEqual(specs.toSorted());
});
