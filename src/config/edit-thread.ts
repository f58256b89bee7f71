/** The program of the thread that reads an edit for `readEdit`. */
import { parentPort, workerData } from "node:worker_threads";
import { compileRules, type RulesSource } from "../rules/compile-rules.ts";
import { diffRules } from "../rules/diff-rules.ts";
import { parseRecorded, type Replay, replayRequests } from "../rules/replay-requests.ts";
import { ConfigError } from "./config.ts";
import { type ConfigProblem, readConfigText } from "./config-text.ts";
import type { EditToRead, ReadEdit } from "./edit-reader.ts";
import { readRules } from "./load-rules.ts";
import { readCollections } from "./rule-set.ts";

/** An admin reads no more problems at once. A text that is not YAML may have one in each line. */
const PROBLEMS_MAX = 100;

async function read(edit: EditToRead): Promise<ReadEdit> {
  const source = sourceOf(edit);
  if (Array.isArray(source))
    return { problems: source.slice(0, PROBLEMS_MAX).map(({ file: _, ...problem }) => problem) };
  return { source, diff: diffRules(edit.inForce, source), replay: await replay(edit, source) };
}

/** The rules of the text, or its problems. The thread has no environment. Otherwise problems could reveal its values. */
function sourceOf({ text, inForce, terms }: EditToRead): RulesSource | ConfigProblem[] {
  if (terms !== null) {
    const read = readCollections(readConfigText(text, "edit", {}), terms);
    return read.ok ? { ...inForce, collections: read.collections } : [...read.problems];
  }
  try {
    return readRules(text, "edit", {}).source;
  } catch (error) {
    if (error instanceof ConfigError) return [...error.problems];
    throw error;
  }
}

async function replay({ inForce, recorded }: EditToRead, source: RulesSource): Promise<Replay | null> {
  if (recorded === null) return null;
  const { texts, nowMs } = recorded;
  return replayRequests(parseRecorded(texts), compileRules(inForce), compileRules(source), nowMs);
}

// `readEdit` starts the thread with exactly this data.
parentPort?.postMessage(await read(workerData as EditToRead));
