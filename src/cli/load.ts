import { appendFile, writeFile } from "node:fs/promises";
import { StartupError } from "../source/startup-error.ts";
import type { Io } from "../terminal/io.ts";
import { paintWith } from "../terminal/paint.ts";
import type { Command } from "./command.ts";
import { readOptions } from "./load/options.ts";
import { pictureOf } from "./load/picture.ts";
import { progressText, reportText } from "./load/report.ts";
import type { Second } from "./load/result.ts";
import { runLoad } from "./load/run-load.ts";

const HELP = `Usage: tidewire load --scenario FILE [--mongodb URI --database NAME] [options]

Loads a service with virtual users that connect, subscribe and receive, and with writers that update documents. Measures
the time to connect, to the first result, and from each write to its arrival. Checks by numbers in the documents that
every write arrives at every user who sees it, once and in order.

The scenario (YAML or JSON, a file or inline) has claims for tokens, subscriptions, and the documents of the writers:
  claims: { sub: "user-{{i}}" }               # i numbers the users from 0
  subscriptions:
    - collection: orders
      filter: { customer: "{{user}}" }        # user is the claim sub; {{i % 10}} calculates
  documents: 100                              # the writers update these in turn
  document: { customer: "user-{{d}}" }        # d numbers the documents from 0

Users:
      --url URL            the service (default ws://127.0.0.1:8480)
      --connections N      virtual users, each with one connection (default 50)
      --ramp N             new connections per second (default 15)
      --workers N          threads for the users, if one core is not enough (default 1)
      --leavers SHARE      users that leave and come back, such as 10% (default 0%)
      --stay TIME          how long such a user stays on average (default 20s)
      --away TIME          how long it is away (default 2s)
Tokens (default: a token for each user, signed with $TIDEWIRE_JWT_SECRET; without it the users are anonymous):
      --secret-file FILE   the secret of auth.jwt, for HS256
      --key-file FILE      a private key in PEM (RSA, P-256, P-384, Ed25519)
      --key-id ID          the kid in the header of the tokens
      --token-life TIME    lifetime of the tokens (default 1h)
      --tokens FILE        tokens in place of signing, one per line
Writers (default: none; a service without writes is measured up to the first result):
      --mongodb URI        the MongoDB of the service
      --database NAME      the database (default: that of the URI)
      --collection NAME    the collection (default: the first one of the scenario)
      --writers N          how many (default 1)
      --rate N             writes per second of each (default 10)
      --keep               do not delete the documents at the end
Time and limits:
      --warm-up TIME       not measured, after the last connection (default 5s)
      --duration TIME      measured (default 30s)
      --settle TIME        wait at the end for what has not arrived (default 15s)
      --max-connections N  refuse more (default 20000)
      --max-time TIME      end after this time, with the results so far (default 15m)
      --max-bytes SIZE     end after so many bytes were received (default 4GiB)
      --i-own-this-target  permit a target that is not this machine
Results:
      --json FILE          all figures, with a series by second
      --svg FILE           a picture of them
      --p99 TIME           fail if the 99th percentile of the delivery times is longer

Examples:
  tidewire load --scenario load.yaml --mongodb "$MONGODB_URI" --database shop
  tidewire load --scenario load.yaml --connections 100 --ramp 200 --rate 50 --mongodb "$MONGODB_URI" --database shop --svg load.svg
  tidewire load --scenario '{"subscriptions":[{"collection":"orders"}]}' --duration 10s

Ctrl-C ends the run with the results so far. Exit codes: 0 every write arrived once and in order; 1 one was lost,
repeated or out of order, something was not checked, a user was refused, a writer failed, or --p99 was exceeded; 2 the
command line or the scenario has a mistake, or the target is on another machine.`;

/** Without a terminal, a line of progress is written this often, in seconds. */
const PROGRESS_EVERY = 5;

async function run(args: readonly string[], io: Io): Promise<number> {
  const options = await readOptions(args, io.env);
  // A file that cannot be written is reported now, not after minutes of measuring.
  await intoFile("json", options.jsonFile, (file) => appendFile(file, ""));
  await intoFile("svg", options.svgFile, (file) => appendFile(file, ""));
  const abort = new AbortController();
  const stop = () => abort.abort();
  io.signal?.addEventListener("abort", stop);
  process.once("SIGINT", stop).once("SIGTERM", stop);
  let seconds = 0;
  try {
    const events = {
      second: (second: Second) => {
        if (io.terminal === true || seconds++ % PROGRESS_EVERY === 0)
          io.err(progressText(second, options.connections));
      },
      note: (text: string) => io.err(`-- ${text}`),
    };
    const result = await runLoad(options, events, abort.signal);
    const colour = io.terminal === true && !io.env["NO_COLOR"];
    io.out(reportText(result, paintWith(colour)));
    const json = `${JSON.stringify(result, null, 2)}\n`;
    await intoFile("json", options.jsonFile, (file) => writeFile(file, json));
    await intoFile("svg", options.svgFile, (file) => writeFile(file, pictureOf(result)));
    return result.failures.length === 0 ? 0 : 1;
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    io.signal?.removeEventListener("abort", stop);
  }
}

/** @throws {StartupError} The file cannot be written. */
async function intoFile(
  flag: string,
  file: string | undefined,
  write: (file: string) => Promise<void>,
): Promise<void> {
  if (file === undefined) return;
  try {
    await write(file);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : cause;
    const text = `--${flag} ${file} cannot be written (${code}): name a file in a folder that exists`;
    throw new StartupError(text, [], { cause });
  }
}

/** `tidewire load`: loads a service, and checks its deliveries. */
export const load: Command = { help: HELP, run };
