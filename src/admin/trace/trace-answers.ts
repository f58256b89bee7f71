import { idOf } from "../../feed/change.ts";
import type { Feed } from "../../feed/feed.ts";
import { valueKey } from "../../match/value-key.ts";
import type { RuleSet } from "../../rules/compile-rules.ts";
import { readDocument } from "../../rules/read-document.ts";
import type { Answers } from "../questions.ts";
import type { Subject } from "./trace.ts";
import type { TraceStart, TraceSubject } from "./traced.ts";
import type { Traces } from "./traces.ts";

/** The parts of a process that answer questions about traces. */
export interface TraceAnswersParts {
  readonly traces: Traces;
  readonly names: { readonly id: string };
  readonly feed: Pick<Feed, "liveQueryBy">;
  readonly rules: () => { readonly rules: RuleSet };
}

/** Answers the questions about traces of this process. */
export function traceAnswers(
  parts: TraceAnswersParts,
): Pick<Answers, "startTrace" | "readTrace" | "stopTrace"> {
  const { traces, names } = parts;
  return {
    startTrace: async (asked) => {
      const subject = subjectOf(parts, asked.subject);
      return typeof subject === "string" ? subject : traces.start(asked, subject);
    },
    readTrace: (read) => traces.read(read, versionOf(read.after, names.id)),
    stopTrace: (id) => traces.end(id),
  };
}

/** The subject in this process, or why it cannot be followed here. */
function subjectOf({ names, feed, rules }: TraceAnswersParts, subject: TraceSubject): Subject | TraceStart {
  if (subject.kind === "sub") return subject;
  if (subject.kind === "live-query") {
    const [process, number] = subject.liveQuery.split(".");
    const liveQuery = process === names.id ? feed.liveQueryBy(Number(number)) : undefined;
    return liveQuery === undefined ? "not-here" : { kind: "live-query", liveQuery };
  }
  const collection = rules().rules.collections.get(subject.collection);
  if (collection === undefined) return "no-collection";
  const key = readDocument({ _id: subject.documentId });
  if (key === undefined) return "bad-id";
  const namespace = `${collection.database}.${collection.collectionName}`;
  return { kind: "document", namespace, idKey: valueKey(idOf(key)) };
}

/** The version that the reader has of this process, from a text such as `0a1b.12,2c3d.7`. */
function versionOf(after: string | null, process: string): number {
  for (const part of after?.split(",") ?? []) {
    const [of, version] = part.split(".");
    if (of === process) return Number(version);
  }
  return 0;
}
