import { once } from "node:events";
import { connect } from "node:net";
import { BSON } from "mongodb";

const OP_MSG = 2013;

/**
 * Inserts documents byte for byte, by a message of our own: the driver would write undefined as null, and has no way
 * to write a DBPointer or text that is not UTF-8.
 */
export async function insertRaw(
  uri: string,
  database: string,
  collection: string,
  documents: readonly Uint8Array[],
): Promise<void> {
  const { hostname, port } = new URL(uri.replace(/^mongodb:/, "http:"));
  const socket = connect(Number(port), hostname);
  try {
    const sequence = Buffer.concat([Buffer.from("documents\0"), ...documents]);
    const parts = [
      int32(0),
      Buffer.of(0),
      BSON.serialize({ insert: collection, $db: database, ordered: true }),
      Buffer.of(1),
      int32(sequence.length + 4),
      sequence,
    ];
    const body = Buffer.concat(parts);
    socket.write(Buffer.concat([int32(body.length + 16), int32(1), int32(0), int32(OP_MSG), body]));
    const reply = BSON.deserialize((await readReply(socket)).subarray(21));
    if (reply["ok"] !== 1 || reply["n"] !== documents.length) throw new Error(JSON.stringify(reply));
  } finally {
    socket.destroy();
  }
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}

async function readReply(socket: ReturnType<typeof connect>): Promise<Buffer> {
  let received = Buffer.alloc(0);
  while (received.length < 4 || received.length < received.readInt32LE(0)) {
    const [chunk]: Buffer[] = await once(socket, "data");
    received = Buffer.concat([received, chunk ?? Buffer.alloc(0)]);
  }
  return received;
}
