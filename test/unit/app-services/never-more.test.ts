/** An import never grants more than App Services did, and grants the same if every part was understood. */
import { isDeepStrictEqual } from "node:util";
import { BSON } from "mongodb";
import { expect, test } from "vitest";
import { compileFilter } from "../../../src/match/compile-filter.ts";
import { encodeDocument } from "../../../src/match/encode.ts";
import { TidewireError } from "../../../src/protocol/errors.ts";
import { authorize, type EffectiveQuery } from "../../../src/rules/authorize.ts";
import { compileRules } from "../../../src/rules/compile-rules.ts";
import { FUZZ_FACTOR, startSeed } from "../../property/seed.ts";
import {
  randomDocument,
  randomRules,
  randomUser,
  readable,
  type World,
} from "../../support/app-services-model.ts";
import { importRules } from "../../support/exported-app.ts";
import { Random } from "../../support/random.ts";

const APPS = 60 * FUZZ_FACTOR;
const OPEN: readonly Pick<World, "answer" | "missingIsMissing">[] = [true, false].flatMap((answer) =>
  [true, false].map((missingIsMissing) => ({ answer, missingIsMissing })),
);

/** The part of a document that a user sees here; `undefined`: nothing. */
function seen(query: EffectiveQuery | undefined, doc: object): string[] | undefined {
  const bytes = BSON.serialize(doc);
  if (query === undefined || !compileFilter(query.filter)(bytes)) return undefined;
  return Object.keys(JSON.parse(encodeDocument(bytes, query.projection, "json")));
}

/** Writes the context out only where the values differ, because that takes longer than the test. */
function expectIn(context: object, actual: unknown, expected: unknown): void {
  if (isDeepStrictEqual(actual, expected)) return;
  expect(actual, JSON.stringify(context, null, 1)).toEqual(expected);
}

function allowed(rules: ReturnType<typeof compileRules>, claims: object): EffectiveQuery | undefined {
  try {
    return authorize(rules, { claims: { ...claims } }, { collection: "orders" }, 0);
  } catch (error) {
    if (error instanceof TidewireError) return undefined;
    throw error;
  }
}

test(
  `no user sees more than before, in ${APPS} random apps; and the same if nothing is reported`,
  async () => {
    const random = new Random(startSeed("import of App Services"));
    const counts = { documents: 0, exact: 0 };
    for (let app = 0; app < APPS; app++) {
      const source = randomRules(random);
      const { config, told } = await importRules(source, { allowId: true });
      const rules = config === undefined ? undefined : compileRules(config);
      for (let round = 0; round < 12; round++) {
        const { id, ...rest } = randomUser(random);
        const query = rules && allowed(rules, { sub: id, ...rest });
        const doc = randomDocument(random);
        const fields = seen(query, doc);
        const before = OPEN.map((open) => readable(source, doc, { user: { id, ...rest }, ...open }));
        const context = { source, rules: config?.collections, user: { id, ...rest }, doc, told };
        for (const had of before) {
          const more = (fields ?? []).filter((name) => name !== "_id" && !had?.includes(name));
          expectIn(context, more, []);
          if (fields !== undefined) expectIn(context, had !== undefined, true);
        }
        if (fields !== undefined) counts.documents++;
        // A claim that is missing refuses the whole rule here; otherwise nothing may be lost unsaid.
        const isWhole = Object.keys(rest["custom_data"] as object).length === 3;
        const isSaid = told.some((line) => !line.endsWith("nobody may read it: left out"));
        if (!isSaid && isWhole) {
          const had = before[0]?.filter((name) => name !== "_id") ?? [];
          expectIn(context, fields?.filter((name) => name !== "_id") ?? [], had);
          counts.exact++;
        }
      }
    }
    console.log(JSON.stringify(counts));
    expect(counts.documents).toBeGreaterThan(APPS / 2);
    expect(counts.exact).toBeGreaterThan(APPS / 2);
  },
  60_000 * FUZZ_FACTOR,
);
