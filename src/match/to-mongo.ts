import type { Document } from "mongodb";
import type { Filter } from "./filter.ts";
/** The filter as the driver's `find` takes it. */
export declare function toMongo(filter: Filter): Document;
