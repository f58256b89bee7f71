import { guarded } from "../metrics/guard.ts";
import type { Courier } from "./courier.ts";
import type { Lanes } from "./lanes.ts";
import type { SinkRunParts } from "./sink-run-parts.ts";
import type { SinkWriter } from "./sink-writer.ts";

/** How long messages in flight may take when the run stops, in milliseconds. */
const STOP_MS = 5_000;

/** Waits a moment for the messages in flight, and saves everything. */
export async function stopRun(
  parts: SinkRunParts,
  courier: Courier,
  lanes: Lanes,
  writer: SinkWriter,
): Promise<void> {
  const later = (act: () => void) => setTimeout(guarded(parts, "sinks.stop", act), STOP_MS);
  const timer = later(() => courier.stop());
  courier.withdraw();
  lanes.suspend();
  await courier.idle();
  clearTimeout(timer);
  writer.touch();
  const late = later(() => writer.end());
  await writer.flush();
  clearTimeout(late);
}
