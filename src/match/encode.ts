import type { ValueMode } from "../protocol/messages.ts";
import type { BsonValue } from "./bson-value.ts";
import type { Projection } from "./projection.ts";
export declare function encodeDocument(document: Uint8Array, projection: Projection, mode: ValueMode): string;
export declare function encodeValue(value: BsonValue, mode: ValueMode): string;
