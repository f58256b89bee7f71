import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import type { AdminRole } from "../../gateway/admin-options.ts";
import type { Admitted } from "../access/admin-access.ts";

/** The version of the API in its paths. */
export const API = "/api/v1";

/**
 * The role that an endpoint needs. `anyone`: no credential, as for a login. `any-admin`: a credential, whatever its
 * roles.
 */
export type EndpointRole = AdminRole | "anyone" | "any-admin";

/** One endpoint: everything that the router, the OpenAPI description and the tests need to know about it. */
export interface EndpointSpec {
  readonly method: "GET" | "POST" | "DELETE";
  /** The path below `/api/v1`. A segment `{name}` matches any text, which becomes the field `name` of the request. */
  readonly path: string;
  readonly role: EndpointRole;
  readonly summary: string;
  /** The form of the body of a `POST`. Default: JSON. */
  readonly body?: "text";
  /** Whether a JSON body may be as large as a plan (`server.admin.planBytes`), as every text may. */
  readonly isLarge?: boolean;
  /** The fields of the query of a `GET`, or of the body of a `POST`, and those of the path. */
  readonly request: z.ZodType;
  readonly answer: z.ZodType;
  /** Whether the answer is an event stream, of which `answer` is one event. */
  readonly stream?: true;
  /** Statuses other than 200 that come with an answer of its own. */
  readonly otherStatuses?: Readonly<Record<number, string>>;
}

/** One request to an endpoint, after it was admitted. */
export interface Call {
  /** `null` where anyone may call. */
  readonly sender: Admitted | null;
  /** The address of the peer, for the audit. */
  readonly from: string;
  readonly nowMs: number;
  /** For handlers of sessions, which read and set a cookie. */
  readonly request: IncomingMessage;
  /** A handler may set headers and the status. The router writes the body. */
  readonly response: ServerResponse;
}

/** A refusal of a request, with the text for its sender. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, text: string, options?: ErrorOptions) {
    super(text, options);
    this.status = status;
    this.code = code;
  }
}

/** The body of every refusal. */
export const ErrorAnswer = z
  .strictObject({
    error: z.string().describe("For a person: the cause, and the next step."),
    code: z.string().describe("For a program."),
  })
  .describe("A refusal.");
