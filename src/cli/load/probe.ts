import type { WelcomeMessage } from "../../protocol/messages.ts";
import { StartupError } from "../../source/startup-error.ts";
import { TokenSource } from "./credentials.ts";
import type { LoadOptions } from "./options.ts";
import { refusalText } from "./report.ts";
import { number } from "./result.ts";
import { compileScenario } from "./scenario.ts";
import { type ErrorCount, Tally } from "./tally.ts";
import { orAborted } from "./until.ts";
import { countingSocket } from "./user-group.ts";
import { VirtualUser } from "./virtual-user.ts";

/** A service that answers at all does so in much less time. */
const PROBE_TIMEOUT_MS = 30_000;

/** The limits that a service sends in its `welcome`, by their names in the configuration. */
export type ServiceLimits = Readonly<Record<string, number>>;

/**
 * Connects the first user of the scenario alone. A mistake in the URL, the token or a filter is then reported once, with
 * what to do, in place of thousands of failures.
 * @returns The limits of the service.
 * @param signal Ends it. Its reason says why.
 * @throws {StartupError} The user did not receive a first result, or the signal was given.
 */
export async function probe(options: LoadOptions, signal: AbortSignal): Promise<ServiceLimits> {
  const { url, scenario, credentials, run } = options;
  const { claims, requests } = compileScenario(scenario).user(0);
  let settle: (error?: ErrorCount) => void = () => {};
  const settled = new Promise<ErrorCount | undefined>((resolve) => {
    settle = resolve;
  });
  const tally = new Tally(settle);
  const token = new TokenSource(credentials).of(0, claims);
  const WebSocket = countingSocket(() => {});
  let limits: ServiceLimits = {};
  const onWelcome = (message: WelcomeMessage) => {
    limits = message.limits;
  };
  const onSettled = () => settle();
  const terms = { url, token, requests, run, written: undefined };
  const user = new VirtualUser({ ...terms, WebSocket, onSettled, onWelcome }, tally);
  const timeout = setTimeout(
    () =>
      settle({
        code: "timed out",
        count: 1,
        message: `no first result within ${PROBE_TIMEOUT_MS / 1_000} s`,
      }),
    PROBE_TIMEOUT_MS,
  );
  let error: ErrorCount | undefined;
  try {
    user.start();
    error = await orAborted(settled, signal);
  } finally {
    clearTimeout(timeout);
    user.end();
  }
  if (error === undefined) return limits;
  const lacksToken = credentials.kind === "none" && error.code === "unauthenticated";
  const hint = lacksToken
    ? "\nNo token was sent: give --secret-file, --key-file or --tokens, or TIDEWIRE_JWT_SECRET."
    : "";
  throw new StartupError(
    `the first user could not connect to ${url}, so no other was tried.\n${refusalText(error.code, error.message)}${hint}`,
  );
}

/** The limits of the service that are too low for a run, each with what to do. A proxy or more nodes may still permit it. */
export function lowLimits(
  limits: ServiceLimits,
  { connections, ramp }: Pick<LoadOptions, "connections" | "ramp">,
): string[] {
  const wanted: readonly (readonly [name: string, wanted: number, unit: string])[] = [
    ["connections", connections, "connections"],
    ["connectionsPerAddress", connections, "connections from one address"],
    ["connectRate", ramp, "new connections per second"],
    // A burst needs no rate.
    ...(connections > (limits["connectBurstPerAddress"] ?? 0)
      ? [["connectRatePerAddress", ramp, "new connections per second from one address"] as const]
      : []),
  ];
  return wanted
    .filter(([name, value]) => value > (limits[name] ?? Number.POSITIVE_INFINITY))
    .map(
      ([name, value, unit]) =>
        `the service permits ${number(limits[name] ?? 0)} ${unit} (limits.${name}), and this run wants ${number(value)}: raise the limit in its configuration, or expect refusals`,
    );
}
