import { writeFile } from "node:fs/promises";
import type { TextFile } from "../../config/rule-set-draft.ts";
import type { Io } from "../../terminal/io.ts";

/** The file has the set in force now, so that the next edit can start from it. @param base The parent so far. */
export async function noteParent(
  { file, text }: TextFile,
  base: number,
  number: number,
  io: Pick<Io, "err">,
): Promise<void> {
  const line = new RegExp(`^parent: *${base} *$`, "m");
  if (!line.test(text)) return;
  await writeFile(file, text.replace(line, `parent: ${number}`)).catch((error: Error) =>
    io.err(`parent in ${file} could not be set to ${number}: ${error.message}`),
  );
}
