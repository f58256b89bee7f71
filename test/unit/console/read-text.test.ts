import { expect, test } from "vitest";
import { readText } from "../../../src/console/ui/read-text.ts";

const fileOf = (bytes: Uint8Array<ArrayBuffer>, size = bytes.length) => ({
  name: "rules.yaml",
  size,
  arrayBuffer: async () => bytes.buffer,
});

test("reads a text in UTF-8, and refuses another file with what to do", async () => {
  expect(await readText(fileOf(new TextEncoder().encode("größe: 1")))).toBe("größe: 1");
  await expect(readText(fileOf(new Uint8Array([0xff, 0xfe, 0x41])))).rejects.toThrow(
    "rules.yaml is no text in UTF-8: save it as UTF-8",
  );
});

test("refuses a file of more than 16 MiB without reading it", async () => {
  const empty = new Uint8Array();
  expect(await readText(fileOf(empty, 16 * 1_048_576))).toBe("");
  await expect(readText(fileOf(empty, 16 * 1_048_576 + 1))).rejects.toThrow(/larger than 16 MiB: choose/);
});

test("says what to do about a file that cannot be read", async () => {
  const gone = { ...fileOf(new Uint8Array()), arrayBuffer: () => Promise.reject(new Error("NotFoundError")) };
  await expect(readText(gone)).rejects.toThrow(/rules.yaml cannot be read: .*Choose it again/);
});
