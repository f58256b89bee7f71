import { joinClaimNames } from "../names/claim-names.ts";
import type { Processes } from "../questions.ts";
import { ApiError } from "./endpoint.ts";
import type { Handlers } from "./endpoints.ts";
import { oneAtATime } from "./one-at-a-time.ts";

type Asked = Parameters<Handlers["ruleNames"]>[1];

/** The handler of the names that an editor of rules offers. */
export const ruleNamesHandlers = (processes: Processes): Pick<Handlers, "ruleNames"> => ({
  ruleNames: oneAtATime("names are being read for another request", async (_call, { collection }: Asked) => {
    const names = await processes.one("ruleNames", collection ?? null);
    if (names === null)
      throw new ApiError(404, "no-collection", "the rules in force have no such collection");
    const claims = joinClaimNames(await processes.all("claimNames", undefined));
    return { ...names, claims };
  }),
});
