/** The two sides of an expression: paths of the document, paths of the user, and values. */

import { pathFault } from "../match/paths.ts";
import { isPlainObject } from "../match/read-literal.ts";

/** The values of `%%values` and `%%environment`, and the claims for the user's fields. */
export interface Surroundings {
  /** By name. A value made from a secret is absent. */
  readonly values: ReadonlyMap<string, unknown>;
  /** `undefined` if no environment was chosen. */
  readonly environment:
    | { readonly tag: string; readonly values: Readonly<Record<string, unknown>> }
    | undefined;
  /** A path of App Services' user object, such as `custom_data.team`, as the claim that replaces it. */
  readonly claimFor: (userPath: string) => string;
}

/** One side of a comparison in an expression. `unfit` cannot be expressed in a rule, and says why. */
export type Operand =
  | { readonly is: "user"; readonly claim: string; readonly asOid: boolean }
  | { readonly is: "document"; readonly path: string; readonly asText: boolean }
  | { readonly is: "value"; readonly value: unknown }
  | { readonly is: "unfit"; readonly why: string };

const unfit = (why: string): Operand => ({ is: "unfit", why });

/** The left side: a key of an expression. */
export function readKey(key: string, around: Surroundings): Operand {
  if (key.startsWith("%%")) return readExpansion(key, around);
  if (key === "%function") return unfit("a function decides");
  if (/^[%$]/.test(key)) return unfit(`${key} is not understood`);
  return documentPath(key);
}

/** The right side, if it is a single value. Extended JSON stays as it is. */
export function readValue(value: unknown, around: Surroundings): Operand {
  if (typeof value === "string") {
    if (value.startsWith("%%")) return readExpansion(value, around);
    return /%%[A-Za-z]/.test(value) ? unfit("an expansion inside a longer text") : { is: "value", value };
  }
  if (isPlainObject(value)) {
    const [name = "", ...more] = Object.keys(value);
    if (more.length === 0 && (name === "%stringToOid" || name === "%oidToString")) {
      return converted(name, readValue(value[name], around));
    }
    return /^\$(?:oid|date|number|uuid|binary|timestamp)/.test(name) && !hasExpansion(value)
      ? { is: "value", value }
      : unfit("an object where a single value is supported");
  }
  if (value === null) return unfit("null, which a missing field may or may not be");
  return Array.isArray(value) ? unfit("a list where a single value is supported") : { is: "value", value };
}

function readExpansion(text: string, around: Surroundings): Operand {
  const [root = "", ...rest] = text.slice(2).split(".");
  const path = rest.join(".");
  if (root === "root" && path !== "") return documentPath(path);
  if (root === "user" && path !== "" && !rest.includes("")) {
    return { is: "user", claim: around.claimFor(path), asOid: false };
  }
  if (root === "values") return constant(text, around.values.get(rest[0] ?? ""), rest.slice(1));
  if (root === "environment") {
    return around.environment === undefined
      ? unfit(`${text} needs --environment NAME`)
      : constant(text, around.environment, rest);
  }
  if ((root === "true" || root === "false") && path === "") return { is: "value", value: root === "true" };
  return unfit(`${text} is not known here`);
}

function constant(text: string, value: unknown, path: readonly string[]): Operand {
  let found = value;
  for (const part of path)
    found = isPlainObject(found) && Object.hasOwn(found, part) ? found[part] : undefined;
  if (found === undefined) return unfit(`${text} is not among the exported values`);
  return hasExpansion(found) ? unfit(`${text} holds an expansion`) : { is: "value", value: found };
}

function documentPath(path: string): Operand {
  const fault = pathFault(path);
  return fault === undefined ? { is: "document", path, asText: false } : unfit(`the path ${path} ${fault}`);
}

function converted(operator: string, operand: Operand): Operand {
  const isToOid = operator === "%stringToOid";
  if (operand.is === "user" && isToOid) return { ...operand, asOid: true };
  if (operand.is === "document" && !isToOid) return { ...operand, asText: true };
  if (operand.is === "value" && isToOid && /^[0-9a-f]{24}$/i.test(String(operand.value))) {
    return { is: "value", value: { $oid: String(operand.value) } };
  }
  return operand.is === "unfit" ? operand : unfit(`${operator} of this`);
}

/** Whether any part of the value would be expanded. */
export function hasExpansion(value: unknown): boolean {
  return /%%[A-Za-z]/.test(JSON.stringify(value) ?? "");
}
