import type { GatewayContext } from "./context.ts";
import { HostedConnections } from "./hosted-connections.ts";
import { Admission } from "./http/admission.ts";
import { Callers } from "./http/callers.ts";
import { connectionsByFileLimit } from "./http/file-limit.ts";
import { UserAccounts } from "./user-accounts.ts";

/** The parts of a gateway that other parts of the node use as well. */
export interface SharedParts {
  /** Counts and limits clients before they connect. */
  readonly admission: Admission;
  /** The accounts of the users who are connected. */
  readonly accounts: UserAccounts;
  /** The users who make requests without a connection. */
  readonly callers: Callers;
  /** Connections of the service itself. */
  readonly hosted: HostedConnections;
}

/** Makes them. */
export function sharedParts(context: GatewayContext): SharedParts {
  const accounts = new UserAccounts(context.limits, (limit, outcome) =>
    context.metrics.limitHits.inc({ limit, outcome }),
  );
  return {
    admission: new Admission(context.limits, context.server, connectionsByFileLimit(), Date.now()),
    accounts,
    callers: new Callers(context, accounts),
    hosted: new HostedConnections(context),
  };
}
