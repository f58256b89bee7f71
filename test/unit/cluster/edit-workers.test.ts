import { pino } from "pino";
import { expect, test } from "vitest";
import { editWorkers } from "../../../src/cluster/edit-workers.ts";
import type { Edit } from "../../../src/cluster/messages.ts";
import { WorkerGone } from "../../../src/cluster/worker-process.ts";
import { StartupError } from "../../../src/source/startup-error.ts";

type Answer = (worker: FakeWorker) => Promise<void>;

const agrees: Answer = async () => {};
const refuses: Answer = async () => {
  throw new StartupError("the collection cannot be followed");
};
const hangs: Answer = async () => {
  throw new WorkerGone("the worker gave no answer");
};
const ends: Answer = async (worker) => {
  worker.isUp = false;
  throw new WorkerGone("the worker has ended");
};

/** A worker that gives the scripted answers. */
class FakeWorker {
  isUp = true;
  readonly #answers: { readonly prepare: Answer; readonly apply: Answer };
  readonly #note: (what: string) => void;

  constructor(answers: { prepare: Answer; apply: Answer }, note: (what: string) => void) {
    this.#answers = answers;
    this.#note = note;
  }

  async ask(request: "prepare" | "apply"): Promise<void> {
    this.#note(request);
    await this.#answers[request](this);
  }

  kill(): void {
    this.#note("kill");
    this.isUp = false;
  }
}

/** Lets an edit reach workers that answer `prepare` and `apply` like this; gives all that happened, in order. */
async function edit(...answers: { prepare?: Answer; apply?: Answer }[]) {
  const happened: string[] = [];
  const slots = answers.map(({ prepare = agrees, apply = agrees }, index) => {
    const number = index + 1;
    const process = new FakeWorker({ prepare, apply }, (what) => happened.push(`${what} ${number}`));
    return { number, process };
  });
  const edited = editWorkers({
    up: () => slots.filter(({ process }) => process.isUp),
    editFor: (number) => ({ generation: number }) as Edit,
    takeEffect: () => happened.push("takes effect"),
    log: pino({ level: "silent" }),
  });
  const error = await edited.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return { happened, error };
}

test("an edit takes effect once every worker can follow it, prepared one after another", async () => {
  const { happened, error } = await edit({}, {});
  expect(error).toBeUndefined();
  expect(happened).toEqual(["prepare 1", "prepare 2", "takes effect", "apply 1", "apply 2"]);
});

test("an edit that one worker refuses takes effect in none", async () => {
  for (const workers of [
    [{ prepare: refuses }, {}],
    [{}, { prepare: refuses }],
  ]) {
    const { happened, error } = await edit(...workers);
    expect(error).toBeInstanceOf(StartupError);
    expect(happened.filter((what) => !what.startsWith("prepare"))).toEqual([]);
  }
});

test("an edit that a worker gives no answer to takes effect in none while that worker serves", async () => {
  const { happened, error } = await edit({}, { prepare: hangs });
  expect(error).toBeInstanceOf(WorkerGone);
  expect(happened).toEqual(["prepare 1", "prepare 2"]);
});

test("a worker that ends while an edit is prepared does not stop the edit, and is not asked to apply it", async () => {
  const { happened, error } = await edit({ prepare: ends }, {});
  expect(error).toBeUndefined();
  expect(happened).toEqual(["prepare 1", "prepare 2", "takes effect", "apply 2"]);
});

test("a worker that cannot follow an edit in force is ended, so that it starts again with the new rules", async () => {
  const { happened, error } = await edit({ apply: refuses }, {});
  expect(error).toBeUndefined();
  expect(happened).toEqual(["prepare 1", "prepare 2", "takes effect", "apply 1", "apply 2", "kill 1"]);
});
