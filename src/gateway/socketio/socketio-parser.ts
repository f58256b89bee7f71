/**
 * Bounds the arguments of one event. The library passes each of them as an argument of a function, in steps that no guard
 * covers. A call with some ten thousand arguments can exceed the stack, and the error would end the process.
 */
import type { Server } from "socket.io";

/** The library's own parser: the package `socket.io-parser`. */
export type SocketIoParser = Server["_parser"];

/** The name of an event, its object, and two arguments too many, so that a mistake is answered with an error. */
const PARTS_MAX = 4;

/** The parser with a decoder that refuses events and acknowledgements with more parts. */
export function boundedParser(parser: SocketIoParser): SocketIoParser {
  class BoundedDecoder extends parser.Decoder {
    constructor() {
      super();
      // The first listener, so the library does not receive the packet. It takes the error for one of the format, and closes the
      // session.
      this.on("decoded", checkParts);
    }
  }
  return { ...parser, Decoder: BoundedDecoder };
}

function checkParts({ data }: { readonly data?: unknown }): void {
  if (Array.isArray(data) && data.length > PARTS_MAX)
    throw new Error(`an event of Socket.IO has at most ${PARTS_MAX - 1} arguments`);
}
