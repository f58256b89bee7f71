/** Names of admins in the audit: no login service and no user of it can choose the name of another admin. */
import { expect, test } from "vitest";
import {
  ADMIN_NAME_MAX,
  nameOfJwt,
  nameOfToken,
  ONE_TIME_NAME,
  TOKEN_NAME,
} from "../../../src/admin/access/admin-name.ts";

const ISS = "https://login.example.com";

test.each([
  [{ iss: ISS, sub: "ada" }, "jwt:https%3A//login.example.com:ada"],
  [{ iss: ISS, sub: "urn:user:1" }, "jwt:https%3A//login.example.com:urn:user:1"],
  [{ iss: null, sub: "ada" }, "jwt::ada"],
  [{ iss: ISS, sub: null }, "jwt:https%3A//login.example.com:"],
  [{ iss: "", sub: "" }, "jwt:%:%"],
  [{ iss: "a", sub: "50%\n\u202e\ud800" }, "jwt:a:50%25%0A%u{202E}%u{D800}"],
])("the name of %o is %s", (claims, name) => expect(nameOfJwt(claims)).toBe(name));

test("different claims have different names, and none has the name of a token or of a one-time URL", () => {
  const texts = [
    null,
    "",
    "a",
    "a:b",
    "b",
    "a:",
    ":",
    "%",
    "%3A",
    "token:ci",
    "url",
    "x".repeat(300),
    "x".repeat(301),
  ];
  const names = texts.flatMap((iss) => texts.map((sub) => nameOfJwt({ iss, sub })));
  expect(new Set(names).size).toBe(texts.length ** 2);
  for (const other of [nameOfToken("ci"), TOKEN_NAME, ONE_TIME_NAME]) expect(names).not.toContain(other);
  for (const name of names) expect(name).toMatch(/^jwt(-sha256)?:/);
});

test("a name is at most as long as the filter of the audit allows", () => {
  const longest = "y".repeat(ADMIN_NAME_MAX - "jwt:a:".length);
  expect(nameOfJwt({ iss: "a", sub: longest })).toBe(`jwt:a:${longest}`);
  expect(nameOfJwt({ iss: "a", sub: `${longest}y` })).toMatch(/^jwt-sha256:[\w-]{43}:y{64}$/);
});
