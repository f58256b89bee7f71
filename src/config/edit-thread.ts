/** The program of the thread that reads an edit for `EditReader`. */
import { parentPort, workerData } from "node:worker_threads";
import type { RulesSource } from "../rules/compile-rules.ts";
import { diffRules } from "../rules/diff-rules.ts";
import { ConfigError } from "./config.ts";
import type { EditToRead, ReadEdit } from "./edit-reader.ts";
import { readRules } from "./load-rules.ts";

/** An admin reads no more problems at once. A text that is not YAML may have one in each line. */
const PROBLEMS_MAX = 100;

function read({ text, inForce }: EditToRead): ReadEdit {
  let source: RulesSource;
  try {
    // The thread has no environment. Otherwise the answer could reveal the values of variables.
    source = readRules(text, "edit", {}).source;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { problems: error.problems.slice(0, PROBLEMS_MAX).map(({ file: _, ...problem }) => problem) };
  }
  return { source, diff: diffRules(inForce, source) };
}

// `EditReader` starts the thread with exactly this data.
parentPort?.postMessage(read(workerData as EditToRead));
