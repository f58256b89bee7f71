/** Loaded into a server under test by `--import`: SIGUSR2 writes a heap snapshot, each into a file of its own. */
import { renameSync } from "node:fs";
import { writeHeapSnapshot } from "node:v8";

let written = 0;

process.on("SIGUSR2", () => {
  const file = `${process.env.BENCH_HEAP}-${++written}.heapsnapshot`;
  // Renamed when it is complete, because its reader waits for the name.
  renameSync(writeHeapSnapshot(`${file}.part`), file);
});
