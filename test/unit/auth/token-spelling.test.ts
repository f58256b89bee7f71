/** A token has one accepted spelling: the holder cannot write it in another spelling that is also accepted. */
import fc from "fast-check";
import { SignJWT } from "jose";
import { expect, test } from "vitest";
import { JwtOptions } from "../../../src/auth/options.ts";
import { createVerifier } from "../../../src/auth/verify-token.ts";
import { startSeed } from "../../property/seed.ts";

const SECRET = "0123456789abcdef0123456789abcdef";
const verifier = createVerifier(JwtOptions.parse({ algorithms: ["HS256"], secret: SECRET }));
const sign = (claims: Record<string, unknown>) =>
  new SignJWT(claims)
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));

const refused = expect.objectContaining({ code: "unauthenticated", details: { reason: "invalid" } });

/** A token whose signature holds both characters in which base64url differs. */
async function tellingToken(): Promise<string> {
  for (let n = 0; ; n++) {
    const token = await sign({ sub: "u1", n });
    const signature = token.split(".")[2] ?? "";
    if (signature.includes("-") && signature.includes("_")) return token;
  }
}

/** The same last byte with other unused bits. */
function withStrayBits(part: string): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const last = alphabet.indexOf(part.at(-1) ?? "");
  return `${part.slice(0, -1)}${alphabet[last + 1]}`;
}

const onPart = (token: string, which: number, change: (part: string) => string) =>
  token
    .split(".")
    .map((part, index) => (index === which ? change(part) : part))
    .join(".");

test("a genuine token is accepted as it was signed, and in no other spelling of the same bytes", async () => {
  const token = await tellingToken();
  await expect(verifier.verify(token)).resolves.toMatchObject({ sub: "u1" });
  const others = [
    ` ${token}`,
    `${token} `,
    `${token}\n`,
    `${token}.`,
    `.${token}`,
    ...[0, 1, 2].flatMap((which) => [
      onPart(token, which, (part) => `${part}=`),
      onPart(token, which, (part) => `${part}==`),
      onPart(token, which, (part) => `${part.slice(0, 5)} ${part.slice(5)}`),
      onPart(token, which, (part) => `${part.slice(0, 5)}\r\n\t${part.slice(5)}`),
    ]),
    onPart(token, 2, (part) => part.replaceAll("-", "+")),
    onPart(token, 2, (part) => part.replaceAll("_", "/")),
    // 32 bytes take 43 characters, of which the last has two bits to spare.
    onPart(token, 2, withStrayBits),
  ];
  for (const other of others) {
    expect(other).not.toBe(token);
    await expect(verifier.verify(other), JSON.stringify(other)).rejects.toEqual(refused);
  }
});

test("whatever is changed in the text of a genuine token, it is accepted no more", async () => {
  const seed = startSeed("token-spelling");
  const token = await tellingToken();
  const character = fc.constantFrom(..."=+/-_ \t\n.AZaz09\u0000é");
  const change = fc.record({
    at: fc.nat(token.length),
    remove: fc.nat(1),
    insert: fc.array(character, { maxLength: 2 }),
  });
  await fc.assert(
    fc.asyncProperty(change, async ({ at, remove, insert }) => {
      const changed = token.slice(0, at) + insert.join("") + token.slice(at + remove);
      if (changed === token) return;
      await expect(verifier.verify(changed), changed).rejects.toMatchObject({ code: "unauthenticated" });
    }),
    { numRuns: 500, seed },
  );
});
