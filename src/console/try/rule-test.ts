import { isSeq, parseDocument, stringify } from "yaml";
import type { SentTo } from "../../admin/api/endpoints.ts";
import type { Draft } from "../rules/draft.ts";
import type { Outcome, TriedUser } from "./compare.ts";

type Test = Readonly<Record<string, unknown>>;

/**
 * A rule test that expects an outcome.
 * @param user The user of a connection; `null` if the request has the claims.
 * @returns `null` for an outcome that no test can expect, such as a malformed filter, and if the claims are redacted.
 */
export function testOf(
  { claims: sent = null, collection, filter }: SentTo<"tryAs">,
  outcome: Outcome,
  user: TriedUser | null = null,
): Test | null {
  if (user?.redacted === true) return null;
  const claims = user === null ? sent : user.claims;
  const isRefused = outcome.outcome === "forbidden" || outcome.outcome === "unknown-collection";
  if (!isRefused && outcome.query === null) return null;
  const { document, given } = outcome;
  const isJudged = document?.found === true;
  const sub = claims === null ? "an anonymous user" : nameOf(claims);
  return {
    name: `${sub} ${isRefused ? "may not follow" : isJudged ? seeing(document) : "may follow"} ${collection}`,
    ...(claims === null ? { anonymous: true } : { as: claims }),
    collection,
    ...(filter === undefined ? {} : { filter }),
    ...(given === null || Object.keys(given).length === 0 ? {} : { given }),
    ...(isRefused ? { expect: "forbidden" } : { rule: outcome.query?.rule }),
    ...(isRefused || !isJudged ? {} : { documents: [expectationOf(document)] }),
  };
}

type Judged = NonNullable<Outcome["document"]>;

const nameOf = ({ sub }: Readonly<Record<string, unknown>>): string =>
  typeof sub === "string" ? sub : "a user without sub";

function seeing({ visible, stored }: Judged): string {
  const id = JSON.stringify((stored as Readonly<Record<string, unknown>>)["_id"]); // a found document is an object
  return `${visible ? "sees" : "does not see"} ${id} of`;
}

function expectationOf({ visible, stored, hiddenFields }: Judged): Test {
  if (!visible) return { hidden: stored };
  return { visible: stored, ...(hiddenFields.length === 0 ? {} : { without: hiddenFields }) };
}

/**
 * Adds a test to a draft: to the tests in its text, if it has any, or to its file of tests. Comments stay.
 * @returns `null` if the tests that are there cannot be read.
 */
export function withTest<D extends Draft>(draft: D, test: Test): D | null {
  if (hasTests(draft.text)) {
    const text = added(draft.text, test);
    return text === null ? null : { ...draft, text };
  }
  const tests = draft.tests.trim() === "" ? stringify({ tests: [test] }, STYLE) : added(draft.tests, test);
  return tests === null ? null : { ...draft, tests };
}

const STYLE = { lineWidth: 0 } as const;

const hasTests = (text: string): boolean => {
  const document = parseDocument(text, { logLevel: "silent" });
  return document.errors.length === 0 && document.has("tests");
};

function added(text: string, test: Test): string | null {
  const document = parseDocument(text, { logLevel: "silent" });
  if (document.errors.length > 0) return null;
  const tests = document.get("tests");
  if (isSeq(tests)) tests.add(document.createNode(test));
  else if (tests === undefined || tests === null) document.set("tests", document.createNode([test]));
  else return null;
  return document.toString(STYLE);
}
