/** Processes that a test starts end with the test run, however that ends. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";

// A worker of vitest that was killed would otherwise go on by itself, and all that it started with it.
process.once("disconnect", () => process.exit(1));

/**
 * Ends `child` when this process is gone, even by kill -9: the guard reads from a pipe that only we hold
 * open, and the system closes it for us.
 * @param directory Removed with it; while we live that is for us to do.
 * @param target "group" for one that leads a process group of its own and has children in it.
 */
export function endWithUs(
  child: ChildProcess,
  directory?: string,
  target: "process" | "group" = "process",
): void {
  if (child.pid === undefined) return;
  const pid = target === "group" ? `-${child.pid}` : child.pid;
  const script = `cat; kill -9 ${pid}; [ -z "$1" ] || rm -rf "$1"`;
  const guard = spawn("sh", ["-c", script, "sh", directory ?? ""], {
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  guard.unref();
  // Once the child has ended its number may be given to another process: the guard must not outlive it.
  child.once("exit", () => guard.kill("SIGKILL"));
}

/** Waits until the process has ended; at once where it has. */
export async function exited(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return { code: child.exitCode, signal: child.signalCode };
}
