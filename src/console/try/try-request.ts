import type { SentTo } from "../../admin/api/endpoints.ts";
import { readValue } from "../trace/subject.ts";

/** The fields of the form, as texts. */
export interface TryForm {
  /** Where the user comes from. */
  readonly from: "claims" | "connection";
  /** JSON, or a token, of which only the claims are used. Empty: an anonymous user. */
  readonly user: string;
  /** The id of a live connection. */
  readonly connection: string;
  readonly collection: string;
  /** JSON; empty: every document. */
  readonly filter: string;
  /** JSON, or a plain text for a string; empty: none. */
  readonly documentId: string;
}

/** Mistakes by field. */
export type TryFaults = Partial<Record<keyof TryForm, string>>;

/** The request of a form, or its mistakes. */
export function tryRequestOf(
  form: TryForm,
): { readonly request: SentTo<"tryAs"> } | { readonly faults: TryFaults } {
  const faults: TryFaults = {};
  const user = userOf(form);
  if ("fault" in user) faults[form.from === "claims" ? "user" : "connection"] = user.fault;
  const filter = objectOf(form.filter);
  if (filter === undefined) faults.filter = 'a JSON object, such as {"status": "ready"}';
  const collection = form.collection.trim();
  if (collection === "") faults.collection = "the name of a collection";
  if ("fault" in user || filter === undefined || Object.keys(faults).length > 0) return { faults };
  return {
    request: {
      ...user,
      collection,
      ...(filter === null ? {} : { filter }),
      ...(form.documentId.trim() === "" ? {} : { documentId: readValue(form.documentId.trim()) }),
    },
  };
}

type User =
  | Pick<SentTo<"tryAs">, "claims">
  | Pick<SentTo<"tryAs">, "connection">
  | { readonly fault: string };

function userOf(form: TryForm): User {
  if (form.from === "connection") {
    const connection = form.connection.trim();
    return connection === "" ? { fault: "the id of a connection" } : { connection };
  }
  const claims = objectOf(claimsText(form.user.trim()));
  return claims === undefined ? { fault: "a JSON object of claims, or a token" } : { claims };
}

/** The form for the fields of an address, such as `#/try?connection=…`. Without a connection it stays as it is. */
export function formFor(fields: Readonly<Record<string, string>>, form: TryForm): TryForm {
  const { connection = "", collection = form.collection } = fields;
  return connection === "" ? form : { ...form, from: "connection", connection, collection };
}

const TOKEN = /^[\w-]+\.([\w-]+)\.[\w-]*$/;

/** The claims of a token as text. The page sends the claims alone: the signature is not checked. */
function claimsText(user: string): string {
  const [, payload] = TOKEN.exec(user) ?? [];
  if (payload === undefined) return user;
  try {
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (char) =>
      char.charCodeAt(0),
    );
    return new TextDecoder().decode(bytes);
  } catch {
    // Not base64: reported as what is no JSON.
    return user;
  }
}

/** `null` for an empty text; `undefined` for a text that is no JSON object. */
function objectOf(text: string): Record<string, unknown> | null | undefined {
  if (text.trim() === "") return null;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
