import { type At, firstLine, withRuleSets } from "./rules-database.ts";

/** `tidewire rules log`: the sets, latest first. */
export async function logSets(most: number, asJson: boolean, at: At): Promise<number> {
  const { io } = at;
  const history = await withRuleSets(at, ({ sets }) => sets.history(most));
  if (asJson) {
    const entries = history.map(({ collections: _, tests: __, number, ...rest }) => ({ number, ...rest }));
    io.out(JSON.stringify(entries, null, 2));
    return 0;
  }
  if (history.length === 0) io.out("no rule set was ever in force: tidewire rules push FILE -m TEXT");
  for (const [index, { number, author, message, at: time, testResult }] of history.entries()) {
    const tests = testResult === null ? "no tests" : `${testResult.tests} tests`;
    const mark = index === 0 ? "*" : " ";
    io.out(
      `${mark} ${String(number).padStart(4)}  ${time.toISOString()}  ${author}  ${tests}  ${firstLine(message)}`,
    );
  }
  return 0;
}
