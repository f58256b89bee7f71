import { z } from "zod";
import { VALUE_MODES } from "../../protocol/messages.ts";
import { type FollowEnd, FollowedQuery } from "../../terminal/followed-query.ts";
import { withoutPath } from "../service-url.ts";
import { REQUEST_INPUT, requestOf } from "./request-input.ts";
import type { McpSettings } from "./settings.ts";
import { Change, TailRecord } from "./tail-record.ts";
import { defineTool, type Tool, type ToolAnswer } from "./tool.ts";

/** A call that takes longer would meet the time limits of clients, which usually are a minute. */
const SECONDS_MAX = 50;
const CHANGES_MAX = 500;

const Output = z.object({
  ended: z
    .enum(["limit", "time", "refused", "ended", "cancelled"])
    .describe(
      "limit and time: the call has reached its limit. refused and ended: the service said no; see notes.",
    ),
  changes: z.array(Change).describe("In the order of their arrival: first the documents of the snapshot."),
  notes: z.array(z.string()).describe("The state of the connection and of the subscription."),
});

/** The tool `tail`. */
export const tailTool = (settings: McpSettings): Tool =>
  defineTool({
    name: "tail",
    title: "Follow a live query",
    description:
      "Subscribes to a collection at the running service for a moment, and returns the documents of the result and the changes that arrive meanwhile. It sees exactly what the user of its token may see: the token that this server was started with, or another one that you give. Ends after `limit` documents and changes, or after `seconds`. Use it to look at live data, or to see whether a write arrives: call it with snapshot false, then write. To learn what another user would see, use explain with claims.",
    input: z.strictObject({
      ...REQUEST_INPUT,
      snapshot: z.boolean().default(true).describe("false: only changes from now on."),
      limit: z
        .int()
        .min(1)
        .max(CHANGES_MAX)
        .default(50)
        .describe("The most documents and changes to return."),
      seconds: z.number().min(0.1).max(SECONDS_MAX).default(5).describe("How long to wait for them."),
      values: z
        .enum(VALUE_MODES)
        .default("json")
        .describe("The encoding of values: json, or ejson (MongoDB Extended JSON, lossless)."),
      token: z
        .string()
        .min(1)
        .max(16_384)
        .optional()
        .describe("The token of a user, in place of that of this server. It is sent to the service only."),
    }),
    output: Output,
    isOpenWorld: true,
    run: async ({ limit, seconds, values, token, snapshot, ...request }, signal) => {
      const record = new TailRecord(limit, settings.serviceUrl);
      const query = new FollowedQuery({
        url: withoutPath(settings.serviceUrl),
        token: async () => token ?? settings.env["TIDEWIRE_TOKEN"],
        // When the only token expires, the user has to get another one.
        hasNewTokens: false,
        request: { ...requestOf(request), ...(snapshot ? {} : { snapshot }) },
        values,
        onMessage: (message) => {
          record.message(message);
          if (record.isFull) query.stop();
        },
        onState: (state) => record.state(state),
      });
      const stop = () => query.stop();
      const timer = setTimeout(stop, seconds * 1_000);
      signal.addEventListener("abort", stop);
      // The client may have gone before this call began.
      if (signal.aborted) stop();
      const end = await query.ended;
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
      record.end(end);
      const ended = endedOf(end, record.isFull, signal.aborted);
      return answer(record, ended, token === undefined && !settings.env["TIDEWIRE_TOKEN"]);
    },
  });

type Ended = z.output<typeof Output>["ended"];

function endedOf({ why }: FollowEnd, isFull: boolean, isCancelled: boolean): Ended {
  if (why === "refused") return "refused";
  if (why !== "stopped") return "ended";
  if (isFull) return "limit";
  return isCancelled ? "cancelled" : "time";
}

const NO_TOKEN = "the call was anonymous: set TIDEWIRE_TOKEN where this server is started, or give a token";

function answer(record: TailRecord, ended: Ended, isAnonymous: boolean): ToolAnswer<z.input<typeof Output>> {
  const isFailure = ended === "refused" || ended === "ended" || !record.wasConnected;
  const notes = [...record.notes, ...(isFailure && isAnonymous ? [NO_TOKEN] : [])];
  const text = [...record.lines, ...notes.map((note) => `-- ${note}`), `-- ${ENDS[ended]}`].join("\n");
  return { text, data: { ended, changes: record.changes, notes }, isFailure };
}

const ENDS = {
  limit: "the limit of documents and changes was reached; there may be more",
  time: "the time is over",
  refused: "the service refused the subscription",
  ended: "the service ended the subscription",
  cancelled: "the call was cancelled",
} as const;
