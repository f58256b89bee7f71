import { ObjectId } from "mongodb";

const TYPE_OBJECT = 3;

/**
 * A field of a command whose value is BSON already. The driver has no way to take bytes, and whatever it makes of a JavaScript
 * object is interpreted: keys such as `_bsontype` and `toBSON` have a meaning, integer-like keys move to the front, and some
 * values have no class that keeps them. So the value is an `ObjectId` to the driver's serializer, which lets each of them
 * write its own bytes behind the type and the name. The test beside it fails if the library changes that.
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

  /** Called by the library. @returns How many bytes were written. */
  serializeInto(buffer: Uint8Array, index: number): number {
    buffer[index - this.#nameBytes - 2] = this.#type;
    buffer.set(this.#bytes, index);
    return this.#bytes.length;
  }
}

/** A field for a command, by its name. @param type The BSON type of the value, an object unless told. */
export const rawField = (name: string, bytes: Uint8Array, type = TYPE_OBJECT): Record<string, ObjectId> => ({
  [name]: new RawValue(name, type, bytes),
});
