/**
 * The product's own dependencies and built files. The peers bring a `ws` and a `mongodb` of other versions along; all
 * who use these two directly are measured with the same.
 */
import { createRequire } from "node:module";

export const ROOT = new URL("../..", import.meta.url);

const require = createRequire(new URL("package.json", ROOT));

export const { MongoClient, BSON, ObjectId } = require("mongodb");
export const { WebSocket, WebSocketServer } = require("ws");

/** A module of the built product, by its path under `dist/`. */
export const dist = (path) => import(new URL(`dist/${path}`, ROOT).href);
