/**
 * An exception that leaves a listener or a timer, and a rejection that nobody waits for, end the process. So each of
 * them in the folders that the service runs goes through the guard (src/metrics/guard.ts).
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/build.ts";

/** These do not run in the service: clients, the console, commands that answer and end, the demonstration, the protocol kit, and the import of rules. */
const NOT_THE_SERVICE = [
  "client",
  "react",
  "vue",
  "tanstack-db",
  "devtools",
  "console",
  "terminal",
  "cli",
  "demo",
  "kit",
  "app-services",
];
/** Listeners of the process itself are not meant: they are its guard, or end it. */
const CALL =
  /(?<!\bprocess)(?:\.(?:on|once|addListener|prependListener|onAny|use)|\b(?:setTimeout|setInterval|setImmediate|watchFile))\(/g;
/**
 * Listeners that only end something or do nothing, with no code of ours in them. A waiter of the feed catches its own
 * errors and hands them to its caller.
 */
const HARMLESS =
  /^(?:NOTHING_TO_DO|resolve|\(\) => \{\}|\(\) => waiter\.(?:check|expire)\(\)|\(\) => child\.kill\("SIGKILL"\))$/;

/** Listeners whose code only settles promises of callers, or handles its own errors, by file. */
const HANDLES_ITS_OWN: Readonly<Record<string, RegExp>> = {
  // These reject the promises of those who wait for an answer.
  "source/mongo.ts":
    /^(?:"\w+", failAll|\(\) => setImmediate\(fail\)|fail|failUnlessRead, timeoutMs|failThese, GRACE_MS)$/,
  // These close the connection, and reject the promise of the caller.
  "source/tail/redis-connection.ts":
    /^(?:"error", \(\) => this\.close\(\)|\(\) => setImmediate\(\(\) => setImmediate\(fail\)\), limitMs|\(\) => setImmediate\(fail\)|fail)$/,
  // This rejects the promise of the caller.
  "source/expiry-index.ts": /^fail, STATE_TIMEOUT_MS$/,
  "feed/interest.ts": /^\(\) => reject\(error\), READ_TIMEOUT_MS$/,
  "sinks/targets/within.ts": /^fail, limitMs$/,
  // This adds a listener that does nothing.
  "sinks/targets/kafka-target.ts":
    /^"connecting", \(\{ connection \}\) => connection\.on\("error", \(\) => \{\}\)$/,
  // An error ends this thread, and rejects the promise of the caller of `runThread`.
  "config/rules-thread.ts": /^"message", \(task: Task\) => void run\(task\)/,
  // These forget and end a thread, and neither can fail.
  "config/run-thread.ts":
    /^(?:"exit", \(\) => void take\(waiting\.find|\(\) => void take\(kept\)\?\.terminate\(\), KEPT_MS$)/,
  // The library catches the error of this one, and closes the session.
  "gateway/socketio/socketio-parser.ts": /^"decoded", checkParts$/,
  // This resolves the promise of a request that waits.
  "admin/api/plan-handler.ts": /^"close", \(\) => gone\.abort\(\)$/,
  // A line that cannot be parsed is itself the complaint.
  "source/mongod-process.ts": /^"line", \(line\) => \{\s+if \(line\.includes/,
};

const files = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => file.endsWith(".ts") && !file.endsWith("/process-guard.ts"))
  .filter((file) => !NOT_THE_SERVICE.includes(file.split("/")[0] ?? ""))
  .map((file) => ({ file, text: readFileSync(join(ROOT, "src", file), "utf8") }));

/** The text between a call's parentheses. */
function argumentsAt(text: string, open: number): string {
  let depth = 0;
  for (let at = open; at < text.length; at++) {
    if ("([{".includes(text[at] ?? "")) depth++;
    if (")]}".includes(text[at] ?? "") && --depth === 0) return text.slice(open + 1, at);
  }
  return text.slice(open + 1);
}

function isGuarded(args: string, text: string): boolean {
  if (/uarded\(/.test(args)) return true;
  const parts = args.split(",").map((part) => part.trim());
  return parts.some(
    (part) =>
      HARMLESS.test(part) ||
      (/^(?:this\.#)?\w+$/.test(part) &&
        new RegExp(`^\\s*(?:const )?${part.replace(".", "\\.")} = [\\w.#]*uarded(?:Refresh)?\\(`, "m").test(
          text,
        )),
  );
}

test("the guard is required in every folder that the service runs", () => {
  const folders = new Set(files.map(({ file }) => file.split("/")[0]));
  for (const folder of ["source", "node", "admin", "auth", "cluster", "rules", "feed", "gateway", "config"])
    expect(folders).toContain(folder);
});

test("every listener and every timer of the service goes through the guard", () => {
  const unguarded = files.flatMap(({ file, text }) =>
    Array.from(text.matchAll(CALL), (match) => argumentsAt(text, match.index + match[0].length - 1))
      .filter((args) => !isGuarded(args, text) && !HANDLES_ITS_OWN[file]?.test(args))
      .map((args) => `${file}: ${args.slice(0, 80).replaceAll(/\s+/g, " ")}`),
  );
  expect(unguarded).toEqual([]);
});

/** Each of these catches all that it may meet. */
const CATCHES_ALL =
  /^(?:handle|this\.#run|this\.#answer|this\.#give|this\.#serve|reauthorizeWithLookups|joinOnceOpen|sleep|discard)\(/;

test("a promise is abandoned only where the work catches all that it may meet", () => {
  const abandoned = files.flatMap(({ file, text }) =>
    Array.from(
      text.matchAll(/^\s*(?:\} )?(?:else |if \(.*\) )?void ([\w.#]+\(.*)$/gm),
      ([, call = ""]) => call,
    )
      .filter((call) => !CATCHES_ALL.test(call))
      .map((call) => `${file}: ${call}`),
  );
  expect(abandoned).toEqual([]);
});

test("no failure of background work is discarded without a reason", () => {
  const discarded = files.flatMap(({ file, text }) =>
    Array.from(text.matchAll(/^.*(?:\.catch\(\(\) => \{\}\)|catch \{\s*\}).*$/gm), ([line]) => line.trim())
      .filter((line) => !/\/\/ \S/.test(line))
      .map((line) => `${file}: ${line}`),
  );
  expect(discarded).toEqual([]);
});
