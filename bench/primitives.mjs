/** The cost of single steps, for decisions about them: `node bench/primitives.mjs`. */
import { createCipheriv, createHmac, hash, randomBytes } from "node:crypto";
import { dist } from "./lib/product.mjs";

const { createMetrics } = await dist("metrics/metrics.js");

const ROUNDS = 200_000;
const KEY = randomBytes(16);
const KEY_TEXT = KEY.toString("hex");
/** As long as the token of a change event. */
const IDS = Array.from({ length: 1_000 }, () => randomBytes(90).toString("hex"));
const NAME = Buffer.from("fullDocumentBeforeChange\0");

const metrics = createMetrics();
const cipher = createCipheriv("aes-128-ecb", KEY, null).setAutoPadding(false);
const block = Buffer.alloc(16);
const whole = Buffer.alloc(20);

const STEPS = {
  "HMAC-SHA-256 of a token": (i) =>
    createHmac("sha256", KEY)
      .update(IDS[i % 1_000])
      .digest(),
  "SHA-256 of key and token, one call": (i) => hash("sha256", KEY_TEXT + IDS[i % 1_000]),
  "a cursor out of new buffers": () =>
    Buffer.concat([Buffer.from("00000000", "hex"), cipher.update(Buffer.from(block))]).toString("base64url"),
  "a cursor in one buffer": () => {
    whole.set(cipher.update(block), 4);
    return whole.toString("base64url");
  },
  "420 bytes of memory of their own": () => Buffer.allocUnsafeSlow(420),
  "420 bytes out of the pool": () => Buffer.allocUnsafe(420),
  "a name as a string": () => NAME.toString("latin1", 0, NAME.indexOf(0)),
  "a counter with a label": () => metrics.changes.inc({ type: "added" }),
};

for (const [name, step] of Object.entries(STEPS)) {
  for (let i = 0; i < ROUNDS / 10; i++) step(i);
  const { user, system } = process.cpuUsage();
  for (let i = 0; i < ROUNDS; i++) step(i);
  const after = process.cpuUsage();
  console.log(`${((after.user + after.system - user - system) / ROUNDS).toFixed(3)} µs  ${name}`);
}
