import { expect, test } from "vitest";
import { jwksUriProblem } from "../../../src/auth/key-source.ts";

test.each(["localhost", "127.0.0.1", "127.0.0.2", "[::1]"])("keys may come over http from %s", (host) =>
  expect(jwksUriProblem(`http://${host}:9000/jwks.json`)).toBeUndefined(),
);

test.each(["10.0.0.1", "0.0.0.0", "127.0.0.1.example.com", "localhost.example.com"])(
  "keys may not come over http from %s",
  (host) => expect(jwksUriProblem(`http://${host}/jwks.json`)).toContain("Use https"),
);
