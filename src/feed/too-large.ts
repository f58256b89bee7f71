import { amount } from "../protocol/amount.ts";
import { TidewireError } from "../protocol/errors.ts";

/** The error for a result of too many documents. */
export const tooLarge = (
  most: number,
  advice = 'use sort with limit, narrow the filter, or subscribe with "snapshot": false',
) =>
  new TidewireError("snapshot-too-large", `the result has more than ${amount(most, "document")}: ${advice}`, {
    limit: "snapshotDocuments",
    value: most,
  });

/** The error for a sorted result of too many documents, whose order is kept with or without a snapshot. */
export const tooManySorted = (most: number) => tooLarge(most, "use limit, or narrow the filter");
