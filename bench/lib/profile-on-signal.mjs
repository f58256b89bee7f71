/** Loaded into a server under test by `--import`: SIGUSR2 begins a CPU profile, and the next one ends and saves it. */
import { writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";

const session = new Session();
session.connect();
await session.post("Profiler.enable");
/** Microseconds between samples. Most rounds take less than a second. */
await session.post("Profiler.setSamplingInterval", { interval: 200 });
let isOn = false;

process.on("SIGUSR2", async () => {
  isOn = !isOn;
  if (isOn) return session.post("Profiler.start");
  const { profile } = await session.post("Profiler.stop");
  writeFileSync(process.env.BENCH_PROFILE, JSON.stringify(profile));
});
