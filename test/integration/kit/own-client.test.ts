/**
 * The client of this package passes the scenarios of the kit, so a scenario that no client can pass is found here, or by
 * `npm run soak`, which plays all of them. The client is made for browsers, which hide the HTTP status of a refused upgrade.
 */
import { join } from "node:path";
import { ROOT } from "../../support/build.ts";
import { runKitWith } from "../../support/kit.ts";

runKitWith(
  `${JSON.stringify(process.execPath)} ${JSON.stringify(join(ROOT, "test/support/kit-driver.mjs"))}`,
  { without: ["http-status"], isOurs: true },
);
