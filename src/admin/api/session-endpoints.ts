/** Logging in and out. Scripts need neither: they send their token with each request. */
import { z } from "zod";
import { ADMIN_ROLES } from "../../gateway/admin-options.ts";
import type { EndpointSpec } from "./endpoint.ts";

const session = z.strictObject({
  name: z.string().describe("The name in the audit."),
  roles: z.array(z.enum(ADMIN_ROLES)),
  csrf: z
    .string()
    .nullable()
    .describe("For the header x-tidewire-csrf of requests that change something; null without a session."),
  endsAt: z.iso.datetime().nullable().describe("When the session ends; null without a session."),
});

const nothing = z.strictObject({});

/** `POST /session`: logs a page in. */
export const LOG_IN = {
  method: "POST",
  path: "/session",
  role: "anyone",
  summary: "Log in: begin a session, whose id the answer sets as a cookie.",
  request: z.strictObject({
    token: z
      .string()
      .min(1)
      .max(16_384)
      .describe("The secret of an admin token, a JWT, or a one-time token."),
  }),
  answer: session,
} as const satisfies EndpointSpec;

/** `GET /session`: the sender of this request. */
export const WHO_AM_I = {
  method: "GET",
  path: "/session",
  role: "any-admin",
  summary: "The name and the roles of the sender of this request.",
  request: nothing,
  answer: session,
} as const satisfies EndpointSpec;

/** `DELETE /session`: logs out. */
export const LOG_OUT = {
  method: "DELETE",
  path: "/session",
  role: "any-admin",
  summary: "Log out: end the session of this request.",
  request: nothing,
  answer: nothing,
} as const satisfies EndpointSpec;
