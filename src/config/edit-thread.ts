/** The program of the thread that reads an edit for `EditReader`. */
import { parentPort, workerData } from "node:worker_threads";
import type { RulesSource } from "../rules/compile-rules.ts";
import { diffRules } from "../rules/diff-rules.ts";
import { ConfigError } from "./config.ts";
import type { EditToRead, ReadEdit } from "./edit-reader.ts";
import { readRules } from "./load-rules.ts";

/** More than an admin reads at once; a text that is no YAML may have a problem in each line. */
const PROBLEMS_MAX = 100;

function read({ text, inForce }: EditToRead): ReadEdit {
  let source: RulesSource;
  try {
    // Without an environment: else the values of variables could be read out through the answer.
    source = readRules(text, "edit", {}).source;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { problems: error.problems.slice(0, PROBLEMS_MAX).map(({ file: _, ...problem }) => problem) };
  }
  return { source, diff: diffRules(inForce, source) };
}

// `EditReader` starts the thread with just that.
parentPort?.postMessage(read(workerData as EditToRead));
