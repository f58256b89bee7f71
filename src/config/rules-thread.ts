/** The program of the threads that read texts of rules: see `runThread`. */
import { getHeapStatistics } from "node:v8";
import { parentPort } from "node:worker_threads";
import { judgeText } from "./draft-task.ts";
import { readEditText } from "./edit-task.ts";
import { type RuleSetTerms, readRuleSet } from "./rule-set.ts";
import { compareSets } from "./sets-diff-task.ts";

/** A rule set as text, and the configuration with which it is judged. */
export interface RuleSetToRead {
  readonly text: string;
  /** The name of the set in problems. */
  readonly name: string;
  readonly terms: RuleSetTerms;
}

const TASKS = {
  readEdit: readEditText,
  judgeDraft: judgeText,
  diffSets: compareSets,
  readSet: ({ text, name, terms }: RuleSetToRead) => readRuleSet(text, name, terms),
};

/** The tasks by name: what each takes, and what it answers. */
export type Tasks = typeof TASKS;

/** A task that a thread is given. */
export interface Task {
  readonly name: keyof Tasks;
  readonly data: unknown;
}

/** The answer of a thread. */
export interface TaskAnswer {
  readonly value: unknown;
  /** The size of the heap of the thread, used or not. */
  readonly heapBytes: number;
}

async function run({ name, data }: Task): Promise<TaskAnswer> {
  // `runThread` sends the data that the task takes.
  const value = await TASKS[name](data as never);
  return { value, heapBytes: getHeapStatistics().total_heap_size };
}

// A task that throws ends the thread, and its `error` event has the reason.
parentPort?.on("message", (task: Task) => void run(task).then((answer) => parentPort?.postMessage(answer)));
