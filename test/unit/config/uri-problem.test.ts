import { expect, test } from "vitest";
import { parseConfig } from "../../../src/config/config.ts";
import { uriProblem } from "../../../src/source/uri-problem.ts";

const ENCODE = /must be percent-encoded: write %40 for @/;
const PORT = /a port is a number from 1 to 65535/;

test.each([
  ["an @ in the password", "mongodb://app:p@ss@db.example.com/", ENCODE],
  ["a / in the password", "mongodb://app:p/ss@db.example.com/", ENCODE],
  ["a : in the password", "mongodb://app:p:ss@db.example.com/", ENCODE],
  ["a # in the password", "mongodb://app:p#ss@db.example.com/", ENCODE],
  ["a ? in the password", "mongodb://app:p?ss@db.example.com/", ENCODE],
  ["a bare % in the password", "mongodb://app:p%ss@db.example.com/", ENCODE],
  [
    "a port above 65535",
    "mongodb://app:s3cret@db.example.com:65536/",
    /names db\.example\.com:65536.*a port is/,
  ],
  ["a port that is no number", "mongodb://app:s3cret@db.example.com:abc/", PORT],
  ["the port 0", "mongodb://app:s3cret@db.example.com:0/", PORT],
  ["no host", "mongodb:///shop", /Protocol and host list are required/],
  [
    "an unknown option",
    "mongodb://db.example.com/?replicasett=rs0",
    /has the option replicasett, which the driver/,
  ],
  [
    "an option without a value",
    "mongodb://db.example.com/?replicaSet=",
    /"replicaSet" cannot be specified with no value/,
  ],
  ["a value that is not allowed", "mongodb://db.example.com/?tls=maybe", /tls\/ssl must be either/],
  [
    "several hosts with directConnection",
    "mongodb://a,b/?directConnection=true",
    /requires exactly one host/,
  ],
  ["a port with mongodb+srv", "mongodb+srv://db.example.com:27017/", /cannot have port number/],
  [
    "maxStalenessSeconds below 90",
    "mongodb://a/?readPreference=secondary&maxStalenessSeconds=89",
    /=89, and .* 90 or more/,
  ],
  [
    "a compressor without its package",
    "mongodb://a/?compressors=snappy",
    /npm install snappy, or remove snappy$/,
  ],
  ["an unknown compressor", "mongodb://a/?compressors=lz4", /lz4 is not a valid compression mechanism/],
  [
    "a file that does not exist",
    "mongodb://a/?tls=true&tlsCAFile=/no/ca.pem",
    /tlsCAFile=\/no\/ca\.pem, and that file cannot/,
  ],
])(
  "a connection string with %s is refused with what to change, and without the password",
  (_name, uri, text) => {
    const problem = uriProblem(uri);
    expect(problem).toMatch(text);
    expect(problem).toMatch(/^mongodb\.uri /);
    expect(problem).not.toMatch(/s3cret|p.ss@/);
  },
);

test.each([
  "mongodb://app:p%40ss@db.example.com:65535/?replicaSet=rs0",
  "mongodb://a:1,b:2/shop?replicaSet=rs0&authSource=admin&appName=a%40b",
  "mongodb://a/?readPreference=secondary&maxStalenessSeconds=90",
  "mongodb://a/?compressors=zlib",
  "mongodb+srv://app:secret@cluster.example.com/?retryWrites=true",
])("the connection string %s has no fault", (uri) => {
  expect(uriProblem(uri)).toBeNull();
});

test("check reports a fault of the connection string with its line and column, beside other problems", () => {
  const text = [
    "mongodb:",
    "  database: shop",
    "  uri: mongodb://app:p@ss@db.example.com/",
    "auth: { anonymous: true }",
    "collections: { orders: { rules: [{ name: all, nme: x }] } }",
  ].join("\n");
  const parsed = parseConfig(text, "tidewire.yaml", {});
  expect(parsed.ok).toBe(false);
  if (parsed.ok) return;
  expect(parsed.problems[0]).toMatchObject({
    line: 3,
    column: 8,
    path: "mongodb.uri",
    message: expect.stringMatching(ENCODE),
  });
  expect(parsed.problems.length).toBeGreaterThan(1);
  expect(JSON.stringify(parsed.problems)).not.toContain("p@ss");
});
