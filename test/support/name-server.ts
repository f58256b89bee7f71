/** A name server on loopback that answers as a test wants, as a hostile one would: another address each time, or none. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { isIPv4, isIPv6 } from "node:net";
import ipaddr from "ipaddr.js";
import { onTestFinished } from "vitest";

const HEADER_BYTES = 12;
const TYPE_A = 1;
const TYPE_AAAA = 28;
const IN_CLASS = 1;
const NAME_ERROR = 3;
/** Points to the name in the question. */
const SAME_NAME = 0xc00c;

/**
 * The addresses of a name: `null` for a name that does not exist, `"silent"` for no answer.
 * @param count How often this name was asked for before, with any type.
 */
export type Answer = (name: string, count: number) => readonly string[] | null | "silent";

export interface NameServer {
  /** As `Resolver.setServers` takes it. */
  readonly address: string;
  /** The names of all questions, in order. */
  readonly asked: readonly string[];
}

export async function startNameServer(answer: Answer): Promise<NameServer> {
  const socket = createSocket("udp4");
  const asked: string[] = [];
  socket.on("message", (query, from) => {
    const { name, type, end } = readQuestion(query);
    const addresses = answer(name, asked.filter((one) => one === name).length);
    asked.push(name);
    if (addresses === "silent") return;
    const records = (addresses ?? []).filter(type === TYPE_A ? isIPv4 : isIPv6).map(toRecord);
    const header = Buffer.alloc(HEADER_BYTES);
    query.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8180 | (addresses === null ? NAME_ERROR : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    socket.send(
      Buffer.concat([header, query.subarray(HEADER_BYTES, end), ...records]),
      from.port,
      from.address,
    );
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  onTestFinished(() => new Promise<void>((resolve) => socket.close(() => resolve())));
  return { address: `127.0.0.1:${socket.address().port}`, asked };
}

function readQuestion(query: Buffer) {
  const labels: string[] = [];
  let at = HEADER_BYTES;
  for (let length = query.readUInt8(at); length > 0; length = query.readUInt8(at)) {
    labels.push(query.toString("ascii", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), type: query.readUInt16BE(at + 1), end: at + 5 };
}

function toRecord(address: string): Buffer {
  const bytes = ipaddr.parse(address).toByteArray();
  const head = Buffer.alloc(12); // a time to live of 0: nobody may keep the answer
  head.writeUInt16BE(SAME_NAME, 0);
  head.writeUInt16BE(bytes.length === 4 ? TYPE_A : TYPE_AAAA, 2);
  head.writeUInt16BE(IN_CLASS, 4);
  head.writeUInt16BE(bytes.length, 10);
  return Buffer.concat([head, Buffer.from(bytes)]);
}
