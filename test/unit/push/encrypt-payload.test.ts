import { createECDH, randomBytes } from "node:crypto";
import ece from "http_ece";
import { expect, test } from "vitest";
import { encryptPayload, PAYLOAD_BYTES_MAX } from "../../../src/push/encrypt-payload.ts";

const bytes = (text: string) => Buffer.from(text, "base64url");

test("encrypts the example of RFC 8291, appendix A, to the bytes that are printed there", () => {
  const keys = {
    p256dh: bytes("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
    auth: bytes("BTBZMqHH6r4Tts7J_aSIgg"),
  };
  const random = {
    salt: bytes("DGv6ra1nlYgDCS1FRnbzlw"),
    privateKey: bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"),
  };
  const body = encryptPayload(Buffer.from("When I grow up, I want to be a watermelon"), keys, random, 1);
  expect(body.toString("base64url")).toBe(
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml" +
      "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT" +
      "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
  );
});

test("every size up to the limit fits into 4,096 bytes, is read by the reference, and does not show its length", () => {
  const browser = createECDH("prime256v1");
  const keys = { p256dh: browser.generateKeys(), auth: randomBytes(16) };
  const sizes = new Set<number>();
  for (const size of [
    0,
    1,
    2,
    500,
    511,
    512,
    513,
    1_024,
    3_584,
    3_585,
    PAYLOAD_BYTES_MAX - 1,
    PAYLOAD_BYTES_MAX,
  ]) {
    const payload = randomBytes(size);
    const body = encryptPayload(payload, keys);
    expect(body.length).toBeLessThanOrEqual(4_096);
    sizes.add(body.length);
    const parameters = {
      version: "aes128gcm",
      privateKey: browser,
      authSecret: keys.auth.toString("base64url"),
    } as const;
    expect(ece.decrypt(body, parameters).equals(payload)).toBe(true);
  }
  expect(sizes.size).toBeLessThanOrEqual(9);
});
