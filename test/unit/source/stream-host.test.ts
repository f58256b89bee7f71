import { expect, test } from "vitest";
import { directUri } from "../../../src/source/stream-host.ts";

test.each([
  ["mongodb://a:1,b:2/?replicaSet=rs0", "mongodb://h:9/?replicaSet=rs0"],
  ["mongodb://a:1", "mongodb://h:9/"],
  ["mongodb://a:1/shop", "mongodb://h:9/shop"],
  [
    "mongodb://u:p%40w@a:1,b/shop?authSource=admin&tls=true",
    "mongodb://u:p%40w@h:9/shop?authSource=admin&tls=true",
  ],
  ["mongodb+srv://u:p@set.example.com/?retryWrites=true", "mongodb://u:p@h:9/?retryWrites=true"],
  [
    "mongodb://a/?readPreference=nearest&readPreferenceTags=dc:x&maxStalenessSeconds=90&w=1",
    "mongodb://h:9/?w=1",
  ],
  ["mongodb+srv://set.example.com/?srvMaxHosts=2&srvServiceName=m", "mongodb://h:9/"],
  ["mongodb://a/?directConnection=false", "mongodb://h:9/"],
])("the connection string of one member of %s is %s", (uri, expected) => {
  expect(directUri(uri, "h:9")).toBe(expected);
});
