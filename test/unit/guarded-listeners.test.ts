/**
 * An exception that leaves a listener or a timer, and a rejection that nobody waits for, end the process. So each of
 * them in the folders that clients can reach goes through the guard (src/metrics/guard.ts).
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ROOT } from "../support/build.ts";

const FOLDERS = ["admin", "feed", "gateway", "cluster"];
/** Listeners of the process itself are not meant: they are its guard, or end it. */
const CALL =
  /(?<!\bprocess)(?:\.(?:on|once|addListener|prependListener|onAny|use)|\b(?:setTimeout|setInterval|setImmediate|watchFile))\(/g;
/**
 * Listeners that only end something or do nothing, with no code of ours in them. A waiter of the feed catches its own
 * errors and hands them to its caller.
 */
const HARMLESS = /^(?:NOTHING_TO_DO|resolve|\(\) => \{\}|\(\) => waiter\.(?:check|expire)\(\))$/;

const files = FOLDERS.flatMap((folder) =>
  readdirSync(join(ROOT, "src", folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && file !== "process-guard.ts")
    .map((file) => ({
      file: `${folder}/${file}`,
      text: readFileSync(join(ROOT, "src", folder, file), "utf8"),
    })),
);

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
      (/^\w+$/.test(part) && new RegExp(`const ${part} = [\\w.#]*uarded\\(`).test(text)),
  );
}

test("every listener and every timer of the gateway goes through the guard", () => {
  const unguarded = files.flatMap(({ file, text }) =>
    Array.from(text.matchAll(CALL), (match) => argumentsAt(text, match.index + match[0].length - 1))
      .filter((args) => !isGuarded(args, text))
      .map((args) => `${file}: ${args.slice(0, 80).replaceAll(/\s+/g, " ")}`),
  );
  expect(unguarded).toEqual([]);
});

/** Each of these catches all that it may meet. */
const CATCHES_ALL =
  /^(?:handle|this\.#run|this\.#answer|this\.#give|this\.#serve|reauthorizeWithLookups|joinOnceOpen|sleep)\(/;

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
