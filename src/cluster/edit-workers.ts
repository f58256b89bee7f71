import type { Logger } from "pino";
import type { Edit } from "./messages.ts";
import { WorkerGone } from "./worker-process.ts";

/** A newly configured collection is checked, and may get its images switched on. */
const PREPARE_WITHIN_MS = 60_000;
const APPLY_WITHIN_MS = 30_000;

/** The parts of a worker that an edit needs. */
interface EditedWorker {
  /** Whether it serves. */
  readonly isUp: boolean;
  /** @throws {WorkerGone} It has ended, or does not answer. @throws {StartupError} It refuses. */
  ask(request: "prepare" | "apply", edit: Edit, timeoutMs: number): Promise<unknown>;
  kill(): void;
}

interface EditedSlot {
  readonly number: number;
  readonly process: EditedWorker;
}

/** An edit of the configuration, as far as its workers are concerned. */
interface FleetEdit {
  /** The workers that serve now. */
  readonly up: () => readonly EditedSlot[];
  /** The edit as the worker of a number receives it. */
  readonly editFor: (number: number) => Edit;
  /** Called once every worker is able to follow the edit. A worker that starts from then on has it already. */
  readonly takeEffect: () => void;
  readonly log: Logger;
}

/**
 * Lets an edit take effect in all workers, or in none: each has to be able to before the first one does. One worker
 * prepares after another, so that the changes of the first one in MongoDB are there for the rest.
 * @throws {StartupError} A worker refuses the edit.
 */
export async function editWorkers({ up, editFor, takeEffect, log }: FleetEdit): Promise<void> {
  for (const { number, process } of up()) {
    await process.ask("prepare", editFor(number), PREPARE_WITHIN_MS).catch((error: unknown) => {
      // A worker that has ended is started again, with the rules that are in force by then.
      if (process.isUp || !(error instanceof WorkerGone)) throw error;
    });
  }
  takeEffect();
  // The edit can no longer be undone. A worker that cannot follow is started again with the new rules.
  await Promise.all(
    up().map(async ({ number, process }) => {
      await process.ask("apply", editFor(number), APPLY_WITHIN_MS).catch((err: unknown) => {
        log.error({ worker: number, err }, "the worker could not follow the edit; it is started again");
        process.kill();
      });
    }),
  );
}
