import type { AnswerOf, SentTo } from "../../admin/api/endpoints.ts";

/** The kinds of subjects. */
export type Kind = AnswerOf<"readTrace">["subject"]["kind"];

/** The subject in the form, as texts. */
export interface SubjectForm {
  readonly kind: Kind;
  readonly sub: string;
  readonly liveQuery: string;
  readonly collection: string;
  /** JSON, or a plain text for a string. */
  readonly documentId: string;
}

/** Mistakes by field. */
export type SubjectFaults = Partial<Record<Exclude<keyof SubjectForm, "kind">, string>>;

/** The form for the fields of an address, such as `#/trace?sub=ada`. */
export function formOf(fields: Readonly<Record<string, string>>): SubjectForm {
  const { sub = "", liveQuery = "", collection = "", documentId = "" } = fields;
  const kind = liveQuery !== "" ? "live-query" : collection !== "" ? "document" : "sub";
  return { kind, sub, liveQuery, collection, documentId };
}

/** The subject of a form, or its mistakes. */
export function subjectOf(
  form: SubjectForm,
): { readonly subject: SentTo<"startTrace"> } | { readonly faults: SubjectFaults } {
  const [sub, liveQuery, collection, id] = [form.sub, form.liveQuery, form.collection, form.documentId].map(
    (text) => text.trim(),
  ) as [string, string, string, string]; // one for each of the four
  if (form.kind === "sub")
    return sub === "" ? { faults: { sub: "the sub of a user" } } : { subject: { sub } };
  if (form.kind === "live-query")
    return liveQuery === ""
      ? { faults: { liveQuery: "the id of a live query" } }
      : { subject: { liveQuery } };
  const faults: SubjectFaults = {
    ...(collection === "" ? { collection: "the name of a collection" } : {}),
    ...(id === "" ? { documentId: "the _id of a document" } : {}),
  };
  if (Object.keys(faults).length > 0) return { faults };
  return { subject: { collection, documentId: readValue(id) } };
}

/** A value as JSON, or the text itself. */
export function readValue(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The subject of a trace in words. */
export function subjectText(subject: AnswerOf<"readTrace">["subject"]): string {
  if (subject.kind === "sub") return `the user ${subject.sub}`;
  if (subject.kind === "live-query") return `the live query ${subject.liveQuery}`;
  return `the document ${JSON.stringify(subject.documentId)} of ${subject.collection}`;
}
