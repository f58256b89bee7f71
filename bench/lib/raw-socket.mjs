/**
 * A WebSocket client that costs next to nothing: it reads the headers of frames, and of the frames themselves as much
 * as it takes to count them. The same client reads from every contender.
 */
import { randomBytes } from "node:crypto";
import { connect } from "node:net";

/** Enough of a frame to distinguish a change from any other message. */
const PEEK_BYTES = 48;
const TEXT = 1;
/** The bit of a compressed message. Only changes and snapshots are compressed. */
const COMPRESSED = 0x40;
const CLOSE = 8;
const PING = 9;
const PONG = 10;

/** All sockets are read through one buffer: what they hold is looked at before the next one is read. */
const shared = Buffer.allocUnsafe(256 * 1_024);

export class RawSocket {
  /** Bytes that all sockets have read, headers included. */
  static readBytes = 0;

  #socket;
  #rest = null;
  /** Bytes of a frame already counted that are still to come. */
  #skip = 0;
  #upgraded = false;
  #reader;

  /**
   * @param reader `isChange(bytes, at)`, `onChange(bytes, at, end, isCompressed)`, `onText(text)`, `onOpen()`, `onClose()`, maybe `onCloseFrame(code)`, and
   *   `wantsWhole`: whether changes are handed on only when they are complete. An address has some 28,000 ports for
   *   connections to one other; `localAddress` is another one.
   */
  constructor({ port, path, protocol, headers = {}, localAddress }, reader) {
    this.#reader = reader;
    this.#socket = connect({
      host: "127.0.0.1",
      port,
      localAddress,
      noDelay: true,
      onread: {
        buffer: shared,
        callback: (size, buffer) => {
          this.#read(buffer.subarray(0, size));
          return true;
        },
      },
    });
    this.#socket.on("error", () => {});
    this.#socket.once("close", () => reader.onClose());
    const lines = [
      `GET ${path} HTTP/1.1`,
      `Host: 127.0.0.1:${port}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
      ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ];
    this.#socket.write(`${lines.join("\r\n")}\r\n\r\n`);
  }

  /** Masked with zeros, which is a mask like any other. */
  send(text, opcode = TEXT) {
    const payload = Buffer.from(text);
    const size = payload.length;
    const header = size < 126 ? Buffer.alloc(6) : Buffer.alloc(8);
    header[0] = 0x80 | opcode;
    if (size < 126) header[1] = 0x80 | size;
    else {
      header[1] = 0x80 | 126;
      header.writeUInt16BE(size, 2);
    }
    this.#socket.write(Buffer.concat([header, payload]));
  }

  drop() {
    this.#socket.destroy();
  }

  #read(chunk) {
    RawSocket.readBytes += chunk.length;
    let bytes = chunk;
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, bytes.length);
      this.#skip -= skipped;
      if (skipped === bytes.length) return;
      bytes = bytes.subarray(skipped);
    }
    if (this.#rest !== null) {
      bytes = Buffer.concat([this.#rest, bytes]);
      this.#rest = null;
    }
    let at = 0;
    if (!this.#upgraded) {
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) {
        this.#rest = Buffer.from(bytes);
        return;
      }
      if (!bytes.subarray(0, 12).toString().endsWith("101")) {
        this.#reader.onRefused(bytes.toString("latin1", 0, end));
        return;
      }
      this.#upgraded = true;
      at = end + 4;
      this.#reader.onOpen();
    }
    at = this.#frames(bytes, at);
    if (at < bytes.length) this.#rest = Buffer.from(bytes.subarray(at));
    else this.#skip = at - bytes.length;
  }

  /** Takes all frames that can be judged; answers where the next one begins, which may be beyond the end. */
  #frames(bytes, from) {
    const { wantsWhole } = this.#reader;
    let at = from;
    while (at + 2 <= bytes.length) {
      let size = bytes[at + 1] & 0x7f;
      let start = at + 2;
      if (size === 126) {
        if (at + 4 > bytes.length) break;
        size = bytes.readUInt16BE(start);
        start += 2;
      } else if (size === 127) {
        if (at + 10 > bytes.length) break;
        size = bytes.readUInt32BE(start + 4);
        start += 8;
      }
      const end = start + size;
      if (bytes.length < Math.min(end, start + PEEK_BYTES)) break;
      const opcode = bytes[at] & 0x0f;
      const isCompressed = (bytes[at] & COMPRESSED) !== 0;
      const isChange = opcode === TEXT && (isCompressed || this.#reader.isChange(bytes, start));
      if (bytes.length < end && (!isChange || wantsWhole)) break;
      if (isChange) this.#reader.onChange(bytes, start, end, isCompressed);
      else if (opcode === TEXT) this.#reader.onText(bytes.toString("utf8", start, end));
      else if (opcode === PING) this.send(bytes.subarray(start, end), PONG);
      else if (opcode === CLOSE) {
        this.#reader.onCloseFrame?.(size < 2 ? 1005 : bytes.readUInt16BE(start));
        this.#socket.end();
      }
      at = end;
    }
    return at;
  }
}
