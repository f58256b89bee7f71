let counter = Math.floor(Math.random() * 0x1_00_00_00);
let process = "";

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");

/**
 * A new ObjectId as 24 hex digits, made as the drivers of MongoDB make them. A page that names its new documents itself
 * recognizes them when the service sends them.
 */
export function objectId(): string {
  if (process === "") {
    const random = crypto.getRandomValues(new Uint8Array(5));
    process = Array.from(random, (byte) => hex(byte, 2)).join("");
  }
  counter = (counter + 1) % 0x1_00_00_00;
  return hex(Math.floor(Date.now() / 1_000) % 2 ** 32, 8) + process + hex(counter, 6);
}
