import type { Part } from "../part.ts";
import { type Logger, Warnings } from "../warnings.ts";

export type { Logger } from "../warnings.ts";

/**
 * Reports problems for which no `error` observer exists, once per kind.
 * @param logger Receives them. Default: `console`.
 */
export const warnings = (logger?: Logger | false): Part => ({
  warnings: (url) => new Warnings(logger, url),
});
