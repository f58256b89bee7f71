import { ApiError, type Call } from "./endpoint.ts";

type Run<Request, Answer> = (call: Call, request: Request) => Answer | Promise<Answer>;
type Limited<Request, Answer> = (call: Call, request: Request) => Promise<Answer>;

/**
 * Limits expensive work to one request at a time, because each takes threads and memory.
 * @param busy The reason of the refusal of a second one at the same time.
 */
export const oneAtATime = <Request, Answer>(
  busy: string,
  run: Run<Request, Answer>,
): Limited<Request, Answer> => fewAtATime(1, busy, run);

/** Like `oneAtATime`, for several requests at the same time. */
export function fewAtATime<Request, Answer>(
  most: number,
  busy: string,
  run: Run<Request, Answer>,
): Limited<Request, Answer> {
  let running = 0;
  return async (call, request) => {
    if (running >= most) throw new ApiError(429, "busy", `${busy}: try again in a moment`);
    running++;
    try {
      return await run(call, request);
    } finally {
      running--;
    }
  };
}
