/** No configuration is larger. In bytes. */
const FILE_MAX = 16 * 1_048_576;

/** The part of a file that is read. */
type ReadFile = Pick<File, "name" | "size" | "arrayBuffer">;

/**
 * Reads a file that an admin has chosen or dropped.
 * @throws {Error} It cannot be read. The text says what to do.
 */
export async function readText(file: ReadFile): Promise<string> {
  const { name, size } = file;
  if (size > FILE_MAX)
    throw new Error(
      `${name} was not opened, because it is larger than 16 MiB: choose a file of rules or tests.`,
    );
  let bytes: ArrayBuffer;
  try {
    bytes = await file.arrayBuffer();
  } catch (cause) {
    const text = `${name} cannot be read: it is a folder, was moved or changed after you chose it, or you may not read it. Choose it again, or choose another file.`;
    throw new Error(text, { cause });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new Error(`${name} is no text in UTF-8: save it as UTF-8, or choose another file.`, { cause });
  }
}
