// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { expect, test } from "vitest";
import { masked, secretsOf, traces } from "../../../../src/cli/mcp/secrets.ts";

const CONFIG = `
mongodb: { uri: "mongodb://ada:p%40ss-word@h:1/?x=1", database: database, tail: { redis: { url: "redis://:redis-pw@h" } } }
auth: { jwt: [{ secret: "\${JWT}", issuer: an-issuer }] }
server: { admin: { token: admin-token, tokens: [{ name: holder-name, sha256: abcdef0123 }] } }
push: { vapid: { publicKey: public-key, privateKey: private-key } }
sinks:
  a: { collection: orders, to: { webhook: { url: "https://x.example/hook", secret: [whsec_one, whsec_two], headers: { X-Key: header-value } } } }
  b: { collection: orders, to: { kafka: { brokers: ["h:9092"], sasl: { username: user-name, password: kafka-pw } } } }
collections: { orders: { rules: [{ name: a, filter: { secret: not-one, url: not-one } }] } }
`;

test("finds the secrets of every section, filled in, and the passwords in URLs", () => {
  const found = secretsOf(CONFIG, { JWT: "jwt-secret" });
  expect(found.toSorted()).toEqual(
    [
      "mongodb://ada:p%40ss-word@h:1/?x=1",
      "p%40ss-word",
      "p@ss-word",
      "redis://:redis-pw@h",
      "redis-pw",
      "jwt-secret",
      "admin-token",
      "abcdef0123",
      "private-key",
      "https://x.example/hook",
      "whsec_one",
      "whsec_two",
      "header-value",
      "kafka-pw",
    ].toSorted(),
  );
});

test("finds what there is in a file with mistakes", () => {
  expect(secretsOf("auth: { jwt: { secret: the-secret, wrong: 1 } }\nfoo: []", {})).toEqual(["the-secret"]);
  expect(secretsOf("a: [", {})).toEqual([]);
});

test("replaces a secret of 6 characters anywhere, and a shorter password inside of its URL only", () => {
  expect(traces(["123456", "12345", undefined], [])).toEqual(["123456"]);
  const secrets = traces([], ["amqp://ada:p%40@h:1/x", "redis://:123456@h", "redis://h", "https://u:@h", ""]);
  expect(secrets).toEqual([":p%40@", "123456", ":p@@"]);
  expect(masked("amqp://ada:p%40@h:1 is p@ or p%40", secrets)).toBe("amqp://ada•••h:1 is p@ or p%40");
  expect(traces([], ["mongodb://u:pass%zzword@h"])).toEqual(["pass%zzword"]);
});

test("finds passwords that a driver encodes in another way than the configuration", () => {
  expect(traces([], ["mongodb://u:p@ss;word@h"])).toContain("p%40ss%3Bword");
});

test.each(['with "quotes"', "back\\slash", "line\nbreak", "tab\tand\u0007bell"])(
  "replaces a secret that JSON escapes: %j",
  (secret) => {
    const secrets = traces([secret], []);
    const quoted = JSON.stringify({ secret });
    for (const text of [secret, quoted, JSON.stringify(quoted)]) {
      expect(masked(`before ${text} after`, secrets)).toContain("•••");
      expect(masked(text, secrets)).not.toMatch(/quotes|slash|break|bell/);
    }
  },
);

test("replaces secrets in strings and names, the longest first, and nothing else", () => {
  const value = { "a secret-long": ["secret", { b: "x secret-long y" }], n: 1, z: null };
  expect(masked(value, ["secret-long", "secret"])).toEqual({
    "a •••": ["•••", { b: "x ••• y" }],
    n: 1,
    z: null,
  });
  const hostile = JSON.parse('{"__proto__":"secret"}');
  expect(JSON.stringify(masked(hostile, ["secret"]))).toBe('{"__proto__":"•••"}');
});
