/** Reading what somebody else wrote by a schema, without trusting the schema's library to survive it. */
import { z } from "zod";

type Parameters<T extends z.ZodType> = NonNullable<globalThis.Parameters<T["safeParse"]>[1]>;

/**
 * `schema.safeParse`, for a value that a stranger may have made up. zod measures every value that has a `length`, whatever it was
 * to be, and compares that length with numbers. It throws a TypeError for `{"length": {"toString": 1, "valueOf": 1}}`. Such a value has
 * the wrong type, so it is refused like others of a wrong type.
 */
export function parseUntrusted<T extends z.ZodType>(
  schema: T,
  value: unknown,
  parameters?: Parameters<T>,
): z.ZodSafeParseResult<z.output<T>> {
  try {
    return schema.safeParse(value, parameters);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return z.custom<z.output<T>>(() => false, { error: "a value has the wrong type" }).safeParse(value);
  }
}
