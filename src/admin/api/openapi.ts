import { z } from "zod";
import { CSRF_HEADER } from "../access/admin-access.ts";
import { API, type EndpointSpec, ErrorAnswer } from "./endpoint.ts";
import { ENDPOINTS } from "./endpoints.ts";

type Node = Record<string, unknown>;

const SECURITY: Node = {
  bearer: { type: "http", scheme: "bearer", description: "The secret of an admin token, or a JWT." },
  session: {
    type: "apiKey",
    in: "cookie",
    name: "tidewire-admin-PORT",
    description: `Set by a login. Requests other than GET also send the csrf of the session as ${CSRF_HEADER}.`,
  },
};

/** Refusals that every endpoint may answer with. */
const REFUSALS: Readonly<Record<number, string>> = {
  400: "A field is missing, unknown or malformed.",
  401: "No valid token and no session.",
  403: "The origin is foreign, the role or the CSRF token is missing.",
  421: "The Host header holds a name that server.admin.hosts does not list.",
  429: "Too many requests without a valid token, or too many of this kind at a time.",
  503: "MongoDB or a worker of the node does not answer, or the signing keys of JWTs of admins cannot be fetched.",
  504: "An act is not confirmed: there was no answer in time, so it may have taken effect, or may still do so.",
};

/** The API as an OpenAPI 3.1 document, written from the table of endpoints (docs/admin-api.json). */
export function openApi(): Node {
  const paths: Record<string, Node> = {};
  for (const [operation, spec] of Object.entries(ENDPOINTS)) {
    const path = API + spec.path;
    paths[path] = { ...paths[path], [spec.method.toLowerCase()]: operationOf(operation, spec) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Tidewire API for admins",
      version: "1",
      description: "Served by the admin listener. docs/admin-api.md says how to log in.",
    },
    paths,
    components: { securitySchemes: SECURITY, schemas: { Error: toSchema(ErrorAnswer, "output") } },
  };
}

function operationOf(operationId: string, spec: EndpointSpec): Node {
  const { summary, role, answer, otherStatuses = {} } = spec;
  const answers = { 200: summary, ...otherStatuses };
  const content = contentOf(spec, toSchema(answer, "output"));
  const responses: Record<string, Node> = {};
  for (const [status, description] of Object.entries(REFUSALS))
    responses[status] = {
      description,
      content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
    };
  for (const [status, description] of Object.entries(answers)) responses[status] = { description, content };
  return {
    operationId,
    summary,
    "x-role": role,
    security: role === "anyone" ? [] : [{ bearer: [] }, { session: [] }],
    ...requestOf(spec),
    responses,
  };
}

const contentOf = ({ stream }: EndpointSpec, schema: Node): Node =>
  stream === true ? { "text/event-stream": { schema } } : { "application/json": { schema } };

/** Fields in the path and in the query are parameters, all others are the body. */
function requestOf({ method, path, body, request }: EndpointSpec): Node {
  const schema = toSchema(request, "input");
  if (body === "text") return { requestBody: { required: true, content: { "text/plain": { schema } } } };
  const properties = Object.entries((schema["properties"] ?? {}) as Record<string, Node>); // an object's schema has them
  const required = (schema["required"] ?? []) as string[];
  const isInPath = (name: string) => path.includes(`{${name}}`);
  const parameters = properties
    .filter(([name]) => isInPath(name) || method === "GET")
    .map(([name, { description, ...own }]) => ({
      name,
      in: isInPath(name) ? "path" : "query",
      required: isInPath(name) || required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema: own,
    }));
  const ofBody = properties.filter(([name]) => !isInPath(name));
  const withParameters = parameters.length === 0 ? {} : { parameters };
  if (method === "GET" || ofBody.length === 0) return withParameters;
  const bodySchema = {
    ...schema,
    properties: Object.fromEntries(ofBody),
    required: required.filter((name) => !isInPath(name)),
  };
  return { ...withParameters, requestBody: { content: { "application/json": { schema: bodySchema } } } };
}

function toSchema(schema: z.ZodType, io: "input" | "output"): Node {
  const { $schema: _, ...node } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return node;
}
