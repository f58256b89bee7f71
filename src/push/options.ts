import { z } from "zod";
import { templateProblem } from "./render.ts";
import { vapidProblem } from "./vapid.ts";

/** Limits of push registrations, a part of the section `limits`. */
export const PushLimits = z.strictObject({
  pushPerUser: z
    .int()
    .min(1)
    .max(1_000)
    .default(20)
    .describe("Push registrations of one user (iss and sub of the token), on all nodes together."),
  pushRegistrations: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(10_000)
    .describe(
      "Push registrations of all users. One node may hold all of them in memory, about 20 KiB for each.",
    ),
});
/** Limits of push registrations, with all defaults filled in. */
export type PushLimits = z.output<typeof PushLimits>;

const TEMPLATE_MAX = 500;
const text = z
  .string()
  .max(TEMPLATE_MAX)
  .superRefine((value, context) => {
    const message = templateProblem(value);
    if (message !== null) context.addIssue({ code: "custom", message });
  });

const texts = {
  title: text.optional().describe("Title of the notification, with `{{path}}` for visible fields."),
  body: text.optional().describe("Text of the notification."),
  url: text
    .optional()
    .describe("Address that the notification opens. Values of fields are percent-encoded in it."),
};

/** The texts of the notifications of one collection. */
export const PushTemplate = z.strictObject({
  ...texts,
  changed: z
    .strictObject(texts)
    .optional()
    .describe("Texts for `changed`. A text that is missing here is taken from above."),
  removed: z
    .strictObject(texts)
    .optional()
    .describe("Texts for `removed`, where `_id` is the only field that is known."),
});
/** The texts of the notifications of one collection. */
export type PushTemplate = z.output<typeof PushTemplate>;

const DAY_MS = 86_400_000;

/** The key pair by which push services recognize this application server (RFC 8292). */
export const VapidOptions = z
  .strictObject({
    subject: z
      .string()
      .regex(/^(?:mailto:.+@.+|https:\/\/.+)$/, { error: "a mailto: or https: address" })
      .meta({ examples: ["mailto:ops@example.com"] })
      .describe("How the operator of a push service reaches you: a mailto: or https: address."),
    publicKey: z
      .string()
      .meta({ examples: ["BNbx…"] })
      .describe("The public key, in base64url. `tidewire vapid-keys` makes a pair."),
    privateKey: z
      .string()
      .meta({ examples: ["${VAPID_PRIVATE_KEY}"] })
      .describe("The private key, in base64url. Write it as `${NAME}` of an environment variable."),
  })
  .superRefine((keys, context) => {
    const problem = vapidProblem(keys);
    if (problem !== null)
      context.addIssue({ code: "custom", path: [problem.path], message: problem.message });
  });
/** The VAPID keys. */
export type VapidOptions = z.output<typeof VapidOptions>;

/** The section `push`: registrations that outlive a connection, and how notifications are sent. */
export const PushOptions = z.strictObject({
  vapid: VapidOptions.optional().describe("VAPID keys. Unset: no push registrations."),
  lifetimeMs: z
    .int()
    .min(60_000)
    .max(366 * DAY_MS)
    .default(30 * DAY_MS)
    .describe("How long a registration lasts after it was made or renewed."),
  templates: z
    .record(z.string(), PushTemplate)
    .default({})
    .describe("Texts of notifications, by the names of collections."),
  ttlMs: z
    .int()
    .min(0)
    .max(28 * DAY_MS)
    .default(DAY_MS)
    .describe(
      "How long a push service keeps a notification for a device that is offline. A push that could not be handed over for this long is dropped.",
    ),
  urgency: z
    .enum(["very-low", "low", "normal", "high"])
    .default("normal")
    .describe("`Urgency` of the notifications: at low battery a device takes only urgent ones."),
  dataBytes: z
    .int()
    .min(0)
    .max(1_024)
    .default(1_024)
    .describe("Size of the `data` of a registration, as JSON. A notification has room for 4 KiB in total."),
  skipConnected: z
    .boolean()
    .default(false)
    .describe(
      "Sends nothing to a user who follows the same live query on the process that serves the registration.",
    ),
  allowPrivate: z
    .boolean()
    .default(false)
    .describe("Allows push services at private addresses, and without TLS. For tests and closed networks."),
  timeoutMs: z
    .int()
    .min(100)
    .max(120_000)
    .default(15_000)
    .describe("How long a push service may take to answer."),
  concurrency: z
    .int()
    .min(1)
    .max(1_000)
    .default(64)
    .describe("Requests to push services at a time, per process."),
  concurrencyPerHost: z
    .int()
    .min(1)
    .max(1_000)
    .default(32)
    .describe(
      "Requests to one host at a time, per process. A host that answers slowly leaves the others to the rest.",
    ),
  concurrencyPerUser: z
    .int()
    .min(1)
    .max(1_000)
    .default(4)
    .describe("Requests for registrations of one user at a time, per process: users choose the hosts."),
  attempts: z
    .int()
    .min(1)
    .max(100)
    .default(10)
    .describe("How often a push is tried before it is dropped. The registration stays."),
  retryFirstMs: z
    .int()
    .min(10)
    .max(600_000)
    .default(5_000)
    .describe("Pause before the second attempt, and after a refusal; it doubles with each further one."),
  retryMaxMs: z
    .int()
    .min(10)
    .max(DAY_MS)
    .default(600_000)
    .describe("Longest pause between two attempts, also if the push service asks for a longer one."),
  leaseTtlMs: z
    .int()
    .min(1_000)
    .max(120_000)
    .default(10_000)
    .describe("Another node takes over the registrations of a node that died after about this time."),
});
/** Options of push registrations, with all defaults filled in. */
export type PushOptions = z.output<typeof PushOptions>;
