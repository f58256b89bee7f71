/** The other side of `Worker`: a process that answers calls. */

/** The arguments of the process. */
export const options = JSON.parse(process.argv[2] ?? "{}");

/** Milliseconds of the machine's monotonic clock, which all its processes share. */
export const clockMs = () => Number(process.hrtime.bigint()) / 1e6;

/** @param handlers By name; `ready` is called first, and settles when the process can be used. */
export function serve(handlers) {
  process.once("disconnect", () => process.exit(0));
  process.on("message", async ({ id, name, argument }) => {
    try {
      process.send({ id, result: await handlers[name](argument) });
    } catch (error) {
      process.send({ id, error: error.stack });
    }
  });
}
