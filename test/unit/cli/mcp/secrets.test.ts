// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the configuration has this syntax for environment variables.
import { expect, test } from "vitest";
import { masked, secretsOf } from "../../../../src/cli/mcp/secrets.ts";

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
  const found = secretsOf(CONFIG, {
    JWT: "jwt-secret",
    TIDEWIRE_TOKEN: "user-token",
    TIDEWIRE_ADMIN_TOKEN: "admin",
  });
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
      "user-token",
    ].toSorted(),
  );
});

test("finds what there is in a file with mistakes", () => {
  expect(secretsOf("auth: { jwt: { secret: the-secret, wrong: 1 } }\nfoo: []", {})).toEqual(["the-secret"]);
  expect(secretsOf("a: [", { TIDEWIRE_TOKEN: "the-token" })).toEqual(["the-token"]);
});

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
