/** Roles of App Services: their users, their documents, and the readable fields. Rights to write are ignored. */
import { pathFault } from "../match/paths.ts";
import { isPlainObject } from "../match/read-literal.ts";
import {
  ALWAYS,
  all,
  any,
  type Condition,
  certainly,
  type Facts,
  given,
  NEVER,
  UNKNOWN,
} from "./condition.ts";
import type { Surroundings } from "./operands.ts";
import type { NoteProblem } from "./problems.ts";
import { readExpression } from "./read-expression.ts";
import { ALL_FIELDS, type Shown, showsAnything } from "./shown-fields.ts";

/** A role may show some documents whole and of others only some fields. */
export interface Grant {
  readonly visible: Condition;
  readonly fields: FieldRights | "all";
}

/** A role: the users to whom it applies, and what it shows them. */
export interface Role {
  readonly name: string;
  readonly applies: Condition;
  readonly grants: readonly Grant[];
}

/** The conditions under which single fields of a document are visible. */
export interface FieldRights {
  readonly named: readonly NamedField[];
  /** Whether fields that are not named show. */
  readonly rest: Condition;
}

interface NamedField {
  readonly name: string;
  /** `undefined` if rights are given for parts of the field only. */
  readonly readable: Condition | undefined;
  readonly inner: readonly NamedField[];
}

type Entries = Readonly<Record<string, unknown>>;
const entriesOf = (value: unknown): Entries => (isPlainObject(value) ? value : {});

/** Reads a role. @param noteProblem Reports a problem at a location in the role. */
export function readRole(name: string, role: Entries, around: Surroundings, noteProblem: NoteProblem): Role {
  const read = (value: unknown, at: string) => readExpression(value, at, around, noteProblem);
  // App Services always writes `apply_when`. Without it, the users of the role are unknown.
  const applies = role["apply_when"] === undefined ? UNKNOWN : read(role["apply_when"], "apply_when");
  if (role["apply_when"] === undefined) noteProblem("apply_when", "missing: the role applies to nobody");
  const fault = faultOf(role);
  if (fault !== undefined) {
    noteProblem("", `${fault}: the role grants nothing`);
    return { name, applies, grants: [] };
  }
  const gates = readGates(role["document_filters"], read);
  const readable = optional(role["read"], "read", read);
  // A right to write includes the right to read. A right that depends on the previous document only permits inserts.
  const write = optional(role["write"], "write", (value, at) =>
    readExpression(value, at, around, (place, message) => {
      if (readable !== ALWAYS && !place.includes("%%prev")) noteProblem(place, message);
    }),
  );
  const whole = any([all([gates.read, readable ?? NEVER]), all([gates.write, write ?? NEVER])]);
  const grants: Grant[] = [{ visible: whole, fields: "all" }];
  if (readable === undefined)
    grants.push({ visible: gates.read, fields: readFields(role, gates.areSame, read) });
  else if (role["fields"] !== undefined && certainly(whole) !== ALWAYS && hasRights(role)) {
    noteProblem("fields", "rights on fields besides a read of the whole document are left out");
  }
  return { name, applies, grants };
}

const PARTS: ReadonlySet<string> = new Set(
  "name apply_when document_filters read write insert delete search fields additional_fields".split(" "),
);

/** An unsupported part of a role might be the part that restricts it. */
function faultOf(role: Entries): string | undefined {
  const unknown = Object.keys(role).find((part) => !PARTS.has(part));
  if (unknown !== undefined) return `${unknown} is not known`;
  const { document_filters: gates = {}, fields = {}, additional_fields: rest = {} } = role;
  if (![gates, fields, rest].every(isPlainObject)) return "document filters and fields have to be objects";
  const gate = Object.keys(entriesOf(gates)).find((name) => name !== "read" && name !== "write");
  return gate === undefined ? undefined : `document_filters.${gate} is not known`;
}

type Read = (value: unknown, at: string) => Condition;

const optional = (value: unknown, at: string, read: Read) =>
  value === undefined ? undefined : read(value, at);

/** `document_filters` applies before all other rights of a role. */
function readGates(value: unknown, read: Read): { read: Condition; write: Condition; areSame: boolean } {
  const { read: forRead, write: forWrite } = entriesOf(value);
  const gate = optional(forRead ?? forWrite, "document_filters.read", read) ?? ALWAYS;
  if (forRead === undefined || forWrite === undefined) return { read: gate, write: gate, areSame: true };
  const areSame = JSON.stringify(forRead) === JSON.stringify(forWrite);
  return { read: gate, write: areSame ? gate : read(forWrite, "document_filters.write"), areSame };
}

/** @param writeCounts Whether the right to write a field includes the right to read it, in the same documents. */
function readFields(role: Entries, writeCounts: boolean, read: Read): FieldRights {
  const right = (value: Entries, at: string): Condition | undefined => {
    const names = ["read", ...(writeCounts ? ["write"] : [])].filter((name) => value[name] !== undefined);
    const isSpokenOf = value["read"] !== undefined || value["write"] !== undefined;
    return isSpokenOf ? any(names.map((name) => read(value[name], `${at}.${name}`))) : undefined;
  };
  const fields = (value: unknown, at: string): NamedField[] =>
    Object.entries(entriesOf(value)).map(([name, inner]) => {
      const here = `${at}.${name}`;
      const rights = entriesOf(inner);
      const below = fields(rights["fields"], `${here}.fields`);
      // A field without rights is not readable.
      return { name, readable: right(rights, here) ?? (below.length > 0 ? undefined : NEVER), inner: below };
    });
  const rest = right(entriesOf(role["additional_fields"]), "additional_fields") ?? NEVER;
  return { named: fields(role["fields"], "fields"), rest };
}

function hasRights(role: Entries): boolean {
  return /"(?:read|write)":(?!false)/.test(JSON.stringify([role["fields"], role["additional_fields"]]));
}

/** How the fields of a role are converted. */
export interface FieldOptions {
  /** Whether to accept a role that hides `_id`, which Tidewire always shows. */
  readonly allowId: boolean;
}

/** The fields that a user with these facts certainly sees; `undefined` for none. */
export function shownFields(
  fields: FieldRights | "all",
  facts: Facts,
  { allowId }: FieldOptions,
  noteProblem: NoteProblem,
): Shown | undefined {
  if (fields === "all") return ALL_FIELDS;
  const shows = (right: Condition) => {
    const certain = certainly(given(right, facts));
    if (certain.is !== "constant")
      noteProblem("fields", "a right on a field that depends on the document is left out");
    return certain.is === "constant" && certain.value;
  };
  const shown = shows(fields.rest) ? allBut(fields.named, shows, noteProblem) : only(fields.named, shows, "");
  if (fields.named.some(isUnwritable)) {
    noteProblem("fields", "a field whose name cannot be written as a path: the role shows nothing");
    return undefined;
  }
  if (!showsAnything(shown)) return undefined;
  if (shown.of === "all" || !hidesId(shown)) return shown;
  if (!allowId) {
    noteProblem(
      "fields",
      "it hides _id, which Tidewire always shows: the role shows nothing. --allow-id accepts that",
    );
    return undefined;
  }
  const paths = shown.paths.filter((path) => path !== "_id");
  return shown.of === "but" && paths.length === 0 ? ALL_FIELDS : { ...shown, paths };
}

/** A name with a dot would be read as a path. */
const isUnwritable = ({ name, inner }: NamedField): boolean =>
  name.includes(".") || pathFault(name) !== undefined || inner.some(isUnwritable);

const hidesId = (shown: Exclude<Shown, { of: "all" }>) =>
  (shown.of === "only" && !shown.paths.includes("_id")) ||
  (shown.of === "but" && shown.paths.includes("_id"));

function allBut(
  named: readonly NamedField[],
  shows: (right: Condition) => boolean,
  noteProblem: NoteProblem,
): Shown {
  const hidden = named.filter(({ readable }) => readable === undefined || !shows(readable));
  for (const { name, readable } of hidden) {
    if (readable === undefined)
      noteProblem(`fields.${name}`, "parts of a field, where the others show: the whole field is hidden");
  }
  return hidden.length === 0 ? ALL_FIELDS : { of: "but", paths: hidden.map(({ name }) => name) };
}

function only(named: readonly NamedField[], shows: (right: Condition) => boolean, prefix: string): Shown {
  const paths = named.flatMap(({ name, readable, inner }) => {
    const path = prefix + name;
    if (readable !== undefined) return shows(readable) ? [path] : [];
    const below = only(inner, shows, `${path}.`);
    return below.of === "only" ? below.paths : [];
  });
  return { of: "only", paths };
}
