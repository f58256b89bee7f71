/** Work on large documents in steps gives the same as in one. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { BSON_TYPE, fromJs } from "../../src/match/bson-value.ts";
import { diffProjected, diffProjectedInSteps } from "../../src/match/delta.ts";
import { encodeDocument } from "../../src/match/encode.ts";
import { encodeDocumentInSteps } from "../../src/match/encode-steps.ts";
import {
  EVERYTHING,
  excludeProjection,
  includeProjection,
  projectedEqual,
} from "../../src/match/projection.ts";
import { projectedEqualInSteps } from "../../src/match/projection-steps.ts";
import { runThrough, StepPace } from "../../src/match/steps.ts";
import { documentTree, toDocument } from "./bson-samples.ts";
import { FUZZ_FACTOR, startSeed } from "./seed.ts";

const seed = startSeed("steps");
const numRuns = 2_000 * FUZZ_FACTOR;

const mode = fc.constantFrom("json", "ejson");
const projection = fc.constantFrom(
  EVERYTHING,
  includeProjection(["a"]),
  includeProjection(["a.b", "b"]),
  excludeProjection(["a.b"]),
  excludeProjection(["b.a", "c"]),
);
/** Every value counts as large. */
const newPace = () => new StepPace(0);

/** Text that often is not UTF-8, around the lengths at which a long string is cut. */
const garbage = fc
  .tuple(
    fc.nat(8),
    fc.array(
      fc.constantFrom(0x61, 0x22, 0x00, 0x0a, 0xc3, 0xa4, 0xe2, 0x82, 0xac, 0xf0, 0x9f, 0x98, 0x80, 0xff),
      { minLength: 12, maxLength: 24 },
    ),
  )
  .map(([shift, bytes]) => Buffer.concat([Buffer.alloc(3 * 16_384 - 16 + shift, 0x62), Buffer.from(bytes)]));

test("a document is encoded in steps to the same text", () => {
  const property = fc.property(documentTree, projection, mode, (tree, shown, values) => {
    const document = toDocument(tree);
    const inSteps = runThrough(encodeDocumentInSteps(document, shown, values, newPace()));
    expect(inSteps).toBe(encodeDocument(document, shown, values));
  });
  fc.assert(property, { numRuns, seed });
});

test("long strings and long binary values are cut to pieces that make the same text, whatever their bytes", () => {
  const kinds = fc.constantFrom(BSON_TYPE.string, BSON_TYPE.binData);
  const property = fc.property(
    garbage,
    kinds,
    mode,
    fc.constantFrom(0, 2, 4),
    (content, type, values, subType) => {
      const isString = type === BSON_TYPE.string;
      const bytes = isString
        ? Buffer.concat([Buffer.alloc(4), content, Buffer.of(0)])
        : Buffer.concat([Buffer.alloc(4), Buffer.of(subType), content]);
      bytes.writeInt32LE(isString ? content.length + 1 : content.length);
      const value = { type, bytes, start: 0, end: bytes.length };
      const document = toDocument({ fields: [["text", { scalar: { value } }]] });
      const inSteps = runThrough(encodeDocumentInSteps(document, EVERYTHING, values, newPace()));
      expect(inSteps === encodeDocument(document, EVERYTHING, values)).toBe(true);
    },
  );
  fc.assert(property, { numRuns: 300 * FUZZ_FACTOR, seed });
});

test("two documents are compared in steps with the same outcome", () => {
  let equal = 0;
  const property = fc.property(
    documentTree,
    documentTree,
    projection,
    fc.boolean(),
    (one, other, shown, isSame) => {
      const [before, after] = [
        toDocument(one, fromJs(1)),
        toDocument(isSame ? one : other, fromJs(isSame ? 2 : 1)),
      ];
      const expected = projectedEqual(shown, before, after);
      if (expected) equal++;
      expect(runThrough(projectedEqualInSteps(shown, before, after, newPace()))).toBe(expected);
      for (const values of ["json", "ejson"] as const) {
        const delta = runThrough(diffProjectedInSteps(shown, before, after, values, newPace()));
        expect(delta).toEqual(diffProjected(shown, before, after, values));
      }
    },
  );
  fc.assert(property, { numRuns, seed });
  expect(equal, "pairs that look the same").toBeGreaterThan(numRuns / 50);
});
