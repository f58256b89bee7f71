import { mayStillHappen } from "../source/majority.ts";
import { isMongoFailure } from "../source/mongo.ts";

/** MongoDB, or the process that was asked, gave no answer, or MongoDB refused. Its text is for the log. */
export class Outage extends Error {
  override readonly name = "Outage";
  /** Whether what was asked for may take effect all the same. */
  readonly mayStillHappen: boolean;

  constructor(text: string, may: { readonly stillHappen: boolean }, options?: ErrorOptions) {
    super(text, options);
    this.mayStillHappen = may.stillHappen;
  }
}

/** The outage behind an error; `null` for another error. */
export function outageOf(error: unknown): Outage | null {
  if (error instanceof Outage) return error;
  if (!isMongoFailure(error)) return null;
  return new Outage(error.message, { stillHappen: mayStillHappen(error) }, { cause: error });
}
