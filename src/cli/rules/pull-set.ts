import { writeFile } from "node:fs/promises";
import { readConfigFile } from "../../config/config.ts";
import { readConfigText } from "../../config/config-text.ts";
import { sectionOf } from "../../config/examine.ts";
import { collectionsText, ruleSetFile, testsText } from "../../config/rule-set-text.ts";
import type { RuleSetStore, SavedRuleSet } from "../../source/rule-set-store.ts";
import { StartupError } from "../../source/startup-error.ts";
import { type At, nameOfSet, setInForce, withRuleSets } from "./rules-database.ts";

/** `tidewire rules pull`: writes the set in force to a file. */
export async function pullSet(file: string, isForced: boolean, at: At): Promise<number> {
  const { io } = at;
  const set = await withRuleSets(at, async (database) => {
    if (file !== "-" && !isForced) await refuseToLose(file, database.sets);
    return setInForce(database);
  });
  const text = fileOf(set, file);
  if (file === "-") {
    io.out(text.trimEnd());
    return 0;
  }
  await writeFile(file, text);
  io.out(`${file} has ${nameOfSet(set)}. Edit it, and apply it with: tidewire rules push ${file} -m TEXT`);
  return 0;
}

/** The set as the file of an admin. */
export function fileOf(set: SavedRuleSet, file: string): string {
  const name = file === "-" ? "FILE" : file;
  return ruleSetFile(
    set,
    ` ${nameOfSet(set)}\n An edit starts from the set under parent: tidewire rules push ${name} -m TEXT`,
  );
}

/**
 * Refuses to overwrite a file that has content of its own: anything else than a set as it was pulled.
 * @throws {StartupError} It would be lost.
 */
async function refuseToLose(file: string, sets: RuleSetStore): Promise<void> {
  const text = await readConfigFile(file).catch(() => null); // there is none yet, or writing it reports the fault
  if (text === null || text.trim() === "") return;
  const { value } = readConfigText(text, file, {});
  const parent = sectionOf(value, "parent");
  const pulled = typeof parent === "number" ? await sets.load(parent) : null;
  if (typeof parent !== "number")
    throw new StartupError(
      `${file} exists and was not written by tidewire rules pull. Name another file, or overwrite it with --force`,
    );
  const isUnedited =
    pulled !== null &&
    collectionsText(text, value) === collectionsTextOf(pulled, file) &&
    testsText(text, value) === testsTextOf(pulled, file);
  if (!isUnedited)
    throw new StartupError(
      `${file} has edits that were not pushed. Push them, name another file, or discard them with --force`,
    );
}

const collectionsTextOf = (set: SavedRuleSet, file: string) => {
  const text = fileOf(set, file);
  return collectionsText(text, readConfigText(text, file, {}).value);
};
const testsTextOf = (set: SavedRuleSet, file: string) => {
  const text = fileOf(set, file);
  return testsText(text, readConfigText(text, file, {}).value);
};
