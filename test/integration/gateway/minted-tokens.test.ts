/** Tokens as the libraries of backends make them, with nothing set but what a backend would set. */
import { execFile } from "node:child_process";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import { SignJWT } from "jose";
import { expect, onTestFinished, test } from "vitest";
import { WebSocket } from "ws";
import { createClient } from "../../../src/client/client.ts";
import { skipWithout } from "../../support/installed.ts";
import { pythonWith } from "../../support/python.ts";
import { SECRET, startTestService } from "../../support/service.ts";

interface JsonWebToken {
  sign(claims: object, secret: string, options: object): string;
}
// The package has no declarations of its own; this is the part that is used.
const jsonwebtoken = createRequire(import.meta.url)("jsonwebtoken") as JsonWebToken;

const CLAIMS = { roles: ["reader"], name: "Ada Łukasiewicz" };
const PYTHON = `
import datetime, json, sys, jwt
claims = json.loads(sys.argv[2])
claims["exp"] = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=15)
print(jwt.encode(claims, sys.argv[1], algorithm=sys.argv[3]), end="")
`;

async function pyjwt(algorithm: string): Promise<string | { missing: string }> {
  const found = await pythonWith("PyJWT==2.10.1");
  if ("missing" in found) return found;
  const claims = JSON.stringify({ sub: "ada", ...CLAIMS });
  return (await promisify(execFile)(found.python, ["-c", PYTHON, SECRET, claims, algorithm])).stdout;
}

const MINTS: readonly (readonly [string, (algorithm: string) => Promise<string | { missing: string }>])[] = [
  [
    "jsonwebtoken",
    async (algorithm) => jsonwebtoken.sign(CLAIMS, SECRET, { algorithm, subject: "ada", expiresIn: "15m" }),
  ],
  [
    "jose",
    async (algorithm) =>
      new SignJWT(CLAIMS)
        .setProtectedHeader({ alg: algorithm })
        .setSubject("ada")
        .setExpirationTime("15m")
        .sign(new TextEncoder().encode(SECRET)),
  ],
  ["PyJWT", pyjwt],
];

const CASES = MINTS.flatMap(([library, mint]) =>
  ["HS256", "HS384"].map((algorithm) => ({ library, mint, algorithm })),
);

test.for(CASES)(
  "accepts a token that $library signed with $algorithm, claims included",
  { timeout: 180_000 }, // with the installation of PyJWT
  async ({ mint, algorithm }, { skip }) => {
    const minted = await mint(algorithm);
    if (typeof minted !== "string") return skipWithout(skip, minted.missing);
    const { service, db } = await startTestService({
      auth: { jwt: { algorithms: [algorithm], secret: SECRET } },
      collections: {
        notes: {
          rules: [
            { name: "own", when: { "%%user.roles": { $in: ["reader"] } }, filter: { owner: "%%user.name" } },
          ],
        },
      },
    });
    await db.collection<{ _id: number; owner: string }>("notes").insertMany([
      { _id: 1, owner: CLAIMS.name },
      { _id: 2, owner: "ben" },
    ]);
    const url = `http://127.0.0.1:${service.address.port}`;
    const client = createClient({ url, token: async () => minted, WebSocket });
    onTestFinished(() => client.close());
    expect(await client.collection("notes").find().snapshot()).toEqual([{ _id: 1, owner: CLAIMS.name }]);
  },
);
