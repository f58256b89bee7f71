/**
 * Bounds the requests that have not arrived completely. Nobody is authorized until then, and one connection of HTTP/2
 * carries many requests, so the limit of each request alone would leave the memory for one connection to its client.
 */
import { TidewireError } from "../../protocol/errors.ts";
import type { Call, CallRequest } from "./call.ts";

type Body = AsyncIterable<Uint8Array>;

/** The size of the flags and the length in front of a message, in bytes. */
const PREFIX_BYTES = 5;

/** Counts the bytes of requests until they are complete. */
export class ArrivingBytes {
  readonly #limitBytes: number;
  readonly #messageBytes: number;
  /** By the connection, then by the client's address, because a trusted proxy carries many clients. */
  readonly #byConnection = new WeakMap<object, Map<string, number>>();
  #totalBytes = 0;

  /** @param messageBytes The most that one request may have. It has room for that, whatever the limit. */
  constructor({ socketCallBytes, messageBytes }: { socketCallBytes: number; messageBytes: number }) {
    this.#limitBytes = socketCallBytes;
    this.#messageBytes = messageBytes;
  }

  get totalBytes(): number {
    return this.#totalBytes;
  }

  /**
   * Passes on the body of a request, and counts its bytes.
   * @param refusal Makes the error with which the body ends when the limit is exceeded.
   */
  counted(body: Body, call: Call, refusal: (error: TidewireError) => Error): Body {
    return { [Symbol.asyncIterator]: () => this.#count(body[Symbol.asyncIterator](), call, refusal) };
  }

  #count(
    source: AsyncIterator<Uint8Array>,
    call: Call,
    refusal: (error: TidewireError) => Error,
  ): AsyncIterator<Uint8Array> {
    const charge = this.#charge(call);
    const length = new RequestLength(call.request, this.#messageBytes);
    return {
      next: async () => {
        const read = await source.next();
        if (read.done === true) {
          charge.release();
          return read;
        }
        call.noteArrived(read.value.length);
        if (charge.holds(length.after(read.value))) return read;
        charge.release();
        // The rest is read and dropped: to end the source would end the call before its answer.
        void discard(source);
        throw refusal(this.#over());
      },
      return: async (value) => {
        charge.release();
        return (await source.return?.(value)) ?? { done: true, value };
      },
    };
  }

  /** The part of one request in the count. It is released when the request is complete, or its call has ended. */
  #charge(call: Call) {
    const { address } = call;
    const byAddress = this.#countsOf(call.request);
    let ownBytes = 0;
    const add = (bytes: number) => {
      const heldBytes = (byAddress.get(address) ?? 0) + bytes;
      if (heldBytes > 0) byAddress.set(address, heldBytes);
      else byAddress.delete(address);
      ownBytes += bytes;
      this.#totalBytes += bytes;
      return heldBytes;
    };
    const release = () => void add(-ownBytes);
    call.onClosed("grpc.arriving", release);
    const holds = (bytes: number) => {
      const heldBytes = add(bytes - ownBytes);
      return heldBytes <= this.#limitBytes || heldBytes === ownBytes;
    };
    return { holds, release };
  }

  #countsOf(request: CallRequest): Map<string, number> {
    const connection = ("stream" in request ? request.stream.session : request.socket) ?? request;
    const known = this.#byConnection.get(connection);
    if (known !== undefined) return known;
    const counts = new Map<string, number>();
    this.#byConnection.set(connection, counts);
    return counts;
  }

  #over(): TidewireError {
    const text = "too many bytes of requests that are not complete on this connection: finish them first";
    const details = { limit: "socketCallBytes", value: this.#limitBytes };
    return new TidewireError("too-many-requests", text, details);
  }
}

/** The bytes that a request needs: those that have arrived, or those that it announces, for which the library makes room. */
class RequestLength {
  readonly #mostBytes: number;
  /** Empty if the body is a message without a prefix. */
  readonly #prefix: Buffer;
  #arrivedBytes = 0;
  #announcedBytes: number;

  constructor({ headers }: CallRequest, messageBytes: number) {
    this.#mostBytes = messageBytes;
    this.#announcedBytes = this.#allowed(Number(headers["content-length"]));
    const isUnary = /^application\/(?:json|proto)\b/.test(headers["content-type"] ?? "");
    this.#prefix = Buffer.alloc(isUnary ? 0 : PREFIX_BYTES);
  }

  /** The length after the next part of the body. */
  after(chunk: Uint8Array): number {
    const missing = this.#prefix.length - this.#arrivedBytes;
    if (missing > 0) {
      this.#prefix.set(chunk.subarray(0, missing), this.#arrivedBytes);
      if (chunk.length >= missing)
        this.#announcedBytes = PREFIX_BYTES + this.#allowed(this.#prefix.readUInt32BE(1));
    }
    this.#arrivedBytes += chunk.length;
    return Math.max(this.#arrivedBytes, this.#announcedBytes);
  }

  /** A request that announces more than it may have is refused before anything is kept. */
  #allowed(bytes: number): number {
    return bytes <= this.#mostBytes ? bytes : 0;
  }
}

async function discard(source: AsyncIterator<Uint8Array>): Promise<void> {
  try {
    while ((await source.next()).done !== true);
  } catch {
    // The client has ended the call.
  }
}
