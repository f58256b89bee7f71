/** The program of the thread that reads a large rule set for `readRuleSetAside`. */
import { parentPort, workerData } from "node:worker_threads";
import { readRuleSet } from "./rule-set.ts";
import type { RuleSetToRead } from "./rule-set-reader.ts";

// `readRuleSetAside` starts the thread with exactly this data.
const { text, name, terms } = workerData as RuleSetToRead;
parentPort?.postMessage(readRuleSet(text, name, terms));
