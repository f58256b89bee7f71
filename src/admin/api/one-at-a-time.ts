import { ApiError, type Call } from "./endpoint.ts";

/**
 * Limits expensive work to one request at a time, because each takes threads and memory.
 * @param busy The reason of the refusal of a second one at the same time.
 */
export function oneAtATime<Request, Answer>(
  busy: string,
  run: (call: Call, request: Request) => Answer | Promise<Answer>,
): (call: Call, request: Request) => Promise<Answer> {
  let isBusy = false;
  return async (call, request) => {
    if (isBusy) throw new ApiError(429, "busy", `${busy}: try again in a moment`);
    isBusy = true;
    try {
      return await run(call, request);
    } finally {
      isBusy = false;
    }
  };
}
