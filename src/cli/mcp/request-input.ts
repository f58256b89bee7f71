import { z } from "zod";

/** The request of a client, as every tool takes it. */
export const REQUEST_INPUT = {
  collection: z.string().min(1).max(256).describe("The name that the configuration gives to clients."),
  filter: z
    .record(z.string(), z.unknown())
    .optional()
    .describe(
      'The client\'s own MongoDB filter, such as {"status":"open"}. Combined with the rule\'s filter by AND.',
    ),
  fields: z
    .array(z.string().max(1_024))
    .max(256)
    .optional()
    .describe("The client's own fields: only these are shown."),
  aggregate: z
    .record(z.string(), z.unknown())
    .optional()
    .describe('Counts and groups in place of documents: {"by":"status","values":{"total":{"sum":"price"}}}.'),
};

type RequestInput = z.output<z.ZodObject<typeof REQUEST_INPUT>>;

/** The request without the parts that the agent has left out. */
export const requestOf = ({ collection, filter, fields, aggregate }: RequestInput) => ({
  collection,
  ...(filter === undefined ? {} : { filter }),
  ...(fields === undefined ? {} : { fields }),
  ...(aggregate === undefined ? {} : { aggregate }),
});
