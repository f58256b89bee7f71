import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { runCommand } from "../../support/command.ts";

const OLD = `
mongodb: { database: shop }
collections:
  orders:
    rules:
      - { name: staff, when: { "%%user.roles": { $in: [admin, support] } } }
      - { name: customer, filter: { customerId: "%%user.sub" }, fields: { exclude: [margin] } }
  invoices: { rules: [{ name: all }] }
`;
const NEW = `
mongodb: { database: shop }
collections:
  orders:
    rules:
      - { name: staff, when: { "%%user.roles": { $in: [admin] } } }
      - { name: auditor, when: { "%%user.roles": { $in: [auditor] } }, anonymous: true, fields: { include: [total] } }
      - { name: customer, filter: { customerId: "%%user.sub", archived: { $ne: true } }, fields: { exclude: [margin] } }
  news: { rules: [{ name: all }] }
limits: { windowSize: 500 }
`;

async function run(config: string, against: string, ...more: string[]) {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-plan-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [edited, old] = [join(folder, "new.yaml"), join(folder, "old.yaml")];
  await writeFile(edited, config);
  await writeFile(old, against);
  const result = await runCommand(["plan", "--config", edited, "--against", old, ...more]);
  return { ...result, err: result.err.replaceAll(folder, "") };
}

test("says which rules change, how, and whether they show more or less", async () => {
  expect(await run(NEW, OLD)).toEqual({
    code: 0,
    err: "",
    out: `orders
  ~ staff
      when     fewer users
               - {"%%user.roles":{"$in":["admin","support"]}}
               + {"%%user.roles":{"$in":["admin"]}}
  + auditor, before customer
      when     {"%%user.roles":{"$in":["auditor"]}}, anonymous ones, too
      filter   all documents
      fields   only total, _id
  ~ customer
      filter   fewer documents
               - {"customerId":"%%user.sub"}
               + {"customerId":"%%user.sub","archived":{"$ne":true}}
news: new
  + all
      when     any user
      filter   all documents
      fields   all fields
invoices: gone; its subscriptions end
limits
  limits.windowSize less may be asked
           - 1000
           + 500`,
  });
});

test("says that nothing changes, and what changes as JSON", async () => {
  expect(await run(OLD, OLD)).toEqual({ code: 0, out: "no rule is another", err: "" });
  expect(JSON.parse((await run(NEW, OLD, "--json")).out)).toMatchObject({
    diff: { collections: [{ collection: "orders" }, { collection: "news" }, { collection: "invoices" }] },
  });
});

test("reports a mistake in either file with its line", async () => {
  const wrong = OLD.replace("$in", "$inn");
  expect(await run(wrong, OLD)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^\/new\.yaml:6:\d+: .*\$inn/),
  });
  expect(await run(OLD, wrong)).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^\/old\.yaml:6:\d+: /),
  });
});
