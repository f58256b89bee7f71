import { ChangeQueue } from "../change-queue.ts";
import type { Part } from "../part.ts";

/** For `query.changes()`: a `for await` loop over the changes of a query. */
export const changes: Part = {
  changes: (result, follow) => {
    // Assigned later, because a query that has stopped already ends the queue while it is being followed.
    let stop: (() => void) | undefined;
    const queue = new ChangeQueue(result, () => stop?.());
    stop = follow({
      change: (change) => queue.push(change),
      stopped: (error) => (error === undefined ? void queue.return() : queue.fail(error)),
    });
    return queue;
  },
};
