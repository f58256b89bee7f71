import { ObjectId } from "mongodb";

const TYPE_OBJECT = 3;

/**
 * A field of a command whose value is BSON already. The driver accepts no bytes, and interprets JavaScript objects:
 * keys such as `_bsontype` and `toBSON` have a meaning, integer-like keys move to the front, and some values have no
 * class that keeps them. So this class poses as an `ObjectId`, because the driver's serializer lets an `ObjectId` write
 * its own bytes after the type and the name. The unit test fails if the library changes that.
 */
class RawValue extends ObjectId {
  readonly #nameBytes: number;
  readonly #type: number;
  readonly #bytes: Uint8Array;

  constructor(name: string, type: number, bytes: Uint8Array) {
    super("000000000000000000000000");
    this.#nameBytes = Buffer.byteLength(name);
    this.#type = type;
    this.#bytes = bytes;
  }

  /**
   * The BSON library calls this method.
   * @returns The number of bytes written.
   */
  serializeInto(buffer: Uint8Array, index: number): number {
    // The library has written the type of an ObjectId before the name. It is replaced by the real one.
    buffer[index - this.#nameBytes - 2] = this.#type;
    buffer.set(this.#bytes, index);
    return this.#bytes.length;
  }
}

/**
 * Makes a field for a command.
 * @param type The BSON type of the value. Default: an object.
 */
export const rawField = (name: string, bytes: Uint8Array, type = TYPE_OBJECT): Record<string, ObjectId> => ({
  [name]: new RawValue(name, type, bytes),
});
