// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
/** Forms that a file may have besides the plain one, and warnings about what is valid and hardly meant. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import {
  formatProblem,
  loadConfig,
  loadConfigWithWarnings,
  parseConfig,
} from "../../../src/config/config.ts";
import { decodeUtf8, type NotUtf8 } from "../../../src/config/utf8.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const HEAD = `
mongodb: { database: shop }
auth: { jwt: { algorithms: [HS256], secret: "\${SECRET}" } }
`;

async function fileOf(content: string | Buffer): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "tidewire-forms-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const file = join(folder, "t.yaml");
  await writeFile(file, content);
  return file;
}

function rulesOf(text: string) {
  const parsed = parseConfig(HEAD + text, "t.yaml", { SECRET });
  if (!parsed.ok) throw new Error(parsed.problems.map(formatProblem).join("\n"));
  return parsed.config.collections["orders"]?.rules;
}

const problemsOf = (text: string) => {
  const parsed = parseConfig(HEAD + text, "t.yaml", { SECRET });
  return parsed.ok ? [] : parsed.problems.map(({ line, message }) => `${line}: ${message}`);
};

test("merge keys and x- keys work as in Compose, and what a map says itself prevails", () => {
  const rules = rulesOf(`
x-common: &common { allow: { snapshot: false }, filter: { owner: "%%user.sub" } }
x-more: &more { filter: { a: 1 }, fields: { exclude: [margin] } }
collections:
  orders:
    rules:
      - { <<: *common, name: one }
      - { <<: *common, name: two, filter: { b: 2 } }
      - { name: three, <<: [*common, *more] }
`);
  expect(rules).toMatchObject([
    { name: "one", filter: { owner: "%%user.sub" }, allow: { snapshot: false } },
    { name: "two", filter: { b: 2 }, allow: { snapshot: false } },
    { name: "three", filter: { owner: "%%user.sub" }, fields: { exclude: ["margin"] } },
  ]);
});

test("a key in quotes is no merge key, and a merge of anything but maps is refused in its line", () => {
  expect(rulesOf('collections: { orders: { rules: [{ name: a, filter: { "<<": 1 } }] } }')).toMatchObject([
    { filter: { "<<": 1 } },
  ]);
  expect(problemsOf("x-a: &a 5\ncollections: { orders: { rules: [{ name: a, <<: *a }] } }")).toEqual([
    "5: a merge key (<<) takes a map, or a list of maps, mostly as *name; write one",
  ]);
});

test("x- keys are for the top of the file alone", () => {
  expect(problemsOf("collections: { orders: { x-note: 1, rules: [{ name: a }] } }")[0]).toContain(
    "unknown key",
  );
});

test("merges that grow without end are refused, soon and in a few lines", () => {
  const levels = Array.from(
    { length: 20 },
    (_, n) => `x-${n + 1}: &a${n + 1} { <<: [*a${n}, *a${n}, *a${n}] }`,
  );
  const text = `x-0: &a0 { k: 1 }\n${levels.join("\n")}\ncollections: { orders: { rules: [{ name: a }] } }`;
  const problems = problemsOf(text);
  expect(problems.join("\n")).toContain("a merge key (<<) takes");
  expect(problems.length).toBeLessThan(5);
});

test.each<[string, Buffer, number]>([
  ["latin-1", Buffer.concat([Buffer.from("a: gr"), Buffer.from([0xfc]), Buffer.from("n")]), 5],
  ["UTF-16", Buffer.from([0xff, 0xfe, 0x61, 0x00]), 0],
  ["a character that is cut off", Buffer.from([0x61, 0xe2, 0x82]), 1],
  ["a surrogate", Buffer.from([0x61, 0xed, 0xa0, 0x80]), 1],
])("bytes that are not UTF-8 are refused with their offset: %s", async (_name, bytes, offset) => {
  expect(() => decodeUtf8(bytes)).toThrow(expect.objectContaining({ offset }) as NotUtf8);
  await expect(loadConfig(await fileOf(bytes))).rejects.toThrow(`the byte at offset ${offset}`);
});

test("every UTF-8 text is read as it is, with U+FFFD and a byte order mark", () => {
  expect(decodeUtf8(Buffer.from("a: grün 🚀 \uFFFD"))).toBe("a: grün 🚀 \uFFFD");
  expect(decodeUtf8(Buffer.from("\uFEFFa: 1"))).toBe("a: 1");
});

test("a single % and an unquoted date are warned of, each with what was meant, and quoted ones are taken as they are", async () => {
  const file = await fileOf(`${HEAD}
collections:
  orders:
    rules:
      - name: a
        when: { "%%user.role": "%user.role" }
        filter:
          owner: "%user.sub"
          until: { $gt: "%now", $lt: 2030-01-01 }
          from: "2030-01-01"
          at: { $date: 2030-01-01T00:00:00Z }
          share: "50%user"
`);
  const { warnings } = await loadConfigWithWarnings(file, { SECRET });
  expect(warnings.map(({ line, path, message }) => `${line} ${path}: ${message}`)).toEqual([
    '9 collections.orders.rules[0].when["%%user.role"]: this is the plain string "%user.role". Write "%%user.role" for the claim, the lookup or the time',
    '11 collections.orders.rules[0].filter.owner: this is the plain string "%user.sub". Write "%%user.sub" for the claim, the lookup or the time',
    '12 collections.orders.rules[0].filter.until["$gt"]: this is the plain string "%now". Write "%%now" for the claim, the lookup or the time',
    '12 collections.orders.rules[0].filter.until["$lt"]: 2030-01-01 is a string here and equals no date. Write { $date: "2030-01-01T00:00:00.000Z" } for a date, or put the string in quotes',
  ]);
});

test("a password that reaches a broker or Redis on another machine in plain text is warned of, and shown nowhere", async () => {
  const file = await fileOf(`
mongodb: { database: shop, tail: { redis: { url: "redis://:hidden-1@redis.internal:6379" } } }
auth: { jwt: { algorithms: [HS256], secret: "\${SECRET}" } }
collections: { orders: { rules: [] } }
sinks:
  a: { collection: orders, to: { redis: { url: "redis://u:hidden-2@10.0.0.7", stream: s } } }
  b: { collection: orders, to: { amqp: { url: "amqp://u:hidden-3@rabbit/v", exchange: e } } }
  c: { collection: orders, to: { kafka: { brokers: ["localhost:9092", "k:9092"], topic: t, sasl: &plain { mechanism: PLAIN, username: u, password: hidden-4 } } } }
  d: { collection: orders, to: { kafka: { brokers: ["k:9092"], topic: t, sasl: { mechanism: SCRAM-SHA-512, username: u, password: hidden-5 } } } }
  encrypted-1: { collection: orders, to: { redis: { url: "rediss://u:hidden@10.0.0.7", stream: s } } }
  encrypted-2: { collection: orders, to: { amqp: { url: "amqps://u:hidden@rabbit/v", exchange: e } } }
  encrypted-3: { collection: orders, to: { kafka: { brokers: ["k:9092"], topic: t, tls: true, sasl: *plain } } }
  here-1: { collection: orders, to: { redis: { url: "redis://u:hidden@localhost", stream: s } } }
  here-2: { collection: orders, to: { amqp: { url: "amqp://u:hidden@[::1]:5672", exchange: e } } }
  here-3: { collection: orders, to: { kafka: { brokers: ["127.0.0.1:9092"], topic: t, sasl: *plain } } }
  open-1: { collection: orders, to: { redis: { url: "redis://redis.internal", stream: s } } }
  open-2: { collection: orders, to: { kafka: { brokers: ["k:9092"], topic: t } } }
`);
  const { warnings } = await loadConfigWithWarnings(file, { SECRET });
  expect(warnings.map(({ line, path }) => `${line} ${path}`)).toEqual([
    "2 mongodb.tail.redis.url",
    "6 sinks.a.to.redis.url",
    "7 sinks.b.to.amqp.url",
    "8 sinks.c.to.kafka.sasl",
    "9 sinks.d.to.kafka.sasl",
  ]);
  expect(warnings[2]?.message).toBe(
    "the password and the documents reach RabbitMQ in plain text, as nothing here encrypts the connection. Write amqps://, or be sure that the network between the machines is encrypted",
  );
  expect(warnings[4]?.message).toContain("Set tls: true");
  expect(warnings.map(formatProblem).join("\n")).not.toContain("hidden");
});
