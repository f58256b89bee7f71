/** Packages of other languages and runtimes, which some tests need. */
import { access, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Installs into `directory`, unless that was done before. Test files that run side by side may install at the same time:
 * each installs into a folder of its own, and the first one to be ready gives it the name.
 */
export async function installOnce(
  directory: string,
  install: (folder: string) => Promise<unknown>,
): Promise<void> {
  if (await exists(directory)) return;
  await mkdir(dirname(directory), { recursive: true });
  const folder = await mkdtemp(`${directory}-`);
  try {
    await install(folder);
    await rename(folder, directory).catch(async (error: unknown) => {
      if (!(await exists(directory))) throw error;
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );
