import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import { Act } from "../ui/act.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Facts } from "../ui/facts.tsx";
import { bytes, count } from "../ui/numbers.ts";
import { dateTime } from "../ui/times.ts";
import { ParkedMessages } from "./parked-messages.tsx";
import { SinkState } from "./sink-state.tsx";

type Sink = AnswerOf<"sinks">["sinks"][number];

/** The reasons of resets in words. */
const RESETS: Readonly<Record<string, string>> = {
  "history-lost":
    "changes could not be read: the oplog no longer reaches back to them, the collection was dropped, or MongoDB was restored",
  "rights-changed": "the sink or its rights have changed",
  "cursor-invalid": "the sink or its rights have changed",
  "snapshot-interrupted": "a node stopped before the first snapshot was complete",
  "spool-bytes": "more messages waited than spool.bytes allows",
  "spool-age": "messages waited for longer than spool.age allows",
};

/** Why nothing is sent, and what happens next; `null` if nothing is wrong. */
function troubleOf({ state, trouble }: Sink): string | null {
  if (trouble === null) return null;
  if (state === "disabled")
    return `The target wants no more messages: ${trouble}. Resume the sink when it takes messages again.`;
  if (state === "paused") return `Before the pause nothing was sent: ${trouble}.`;
  return `Nothing is sent at the moment: ${trouble}. The sink tries again.`;
}

interface SinkDialogProps {
  /** `null`: closed. */
  readonly sink: Sink | null;
  readonly onClose: () => void;
  readonly onActed: () => void;
}

/** One sink, its parked messages, and the acts on it. */
export const SinkDialog = ({ sink, onClose, onActed }: SinkDialogProps): ReactNode => (
  <Dialog title="Sink" isOpen={sink !== null} onClose={onClose} isWide>
    {sink === null ? null : <Details sink={sink} onActed={onActed} />}
  </Dialog>
);

interface DetailsProps {
  readonly sink: Sink;
  readonly onActed: () => void;
}

function Details({ sink, onActed }: DetailsProps): ReactNode {
  const { roles } = useSession();
  const { lastReset, oldestAt } = sink;
  const trouble = troubleOf(sink);
  return (
    <div className="stack">
      {trouble === null ? null : <p className="notice warn">{trouble}</p>}
      <Facts
        rows={[
          ["Name", sink.name],
          ["Collection", sink.collection],
          ["Target", sink.target],
          ["State", <SinkState key="state" state={sink.state} />],
          ["Node", sink.node ?? "none yet"],
          ["Delivered", count(sink.delivered, "message")],
          ["Refused", count(sink.failed, "attempt")],
          ["Waiting", `${count(sink.spooledMessages, "message")}, ${bytes(sink.spooledBytes)}`],
          ["Waits since", oldestAt === null ? "–" : dateTime(oldestAt)],
          ["Parked", count(sink.parked, "message")],
          ["Resets", sink.resets.toLocaleString("en")],
        ]}
      />
      {lastReset === null ? null : (
        <p className="hint">
          Last reset: {dateTime(lastReset.at)}, {lastReset.reason}: {RESETS[lastReset.reason] ?? "unknown"}.
          Changes before it may be missing at the target.
        </p>
      )}
      {roles.has("act") ? (
        <Acts sink={sink} onActed={onActed} />
      ) : (
        <p className="hint">To pause, resume or replay, a token needs the role act.</p>
      )}
      <ParkedMessages sink={sink} />
    </div>
  );
}

function Acts({ sink: { name, state, parked }, onActed }: DetailsProps): ReactNode {
  const { api } = useSession();
  const isStopped = state === "paused" || state === "disabled";
  return (
    <div className="acts">
      {isStopped ? (
        <Act
          title="Resume"
          explanation="Sends what waits, and goes on. Lasts over a restart."
          perform={() => api.call("resumeSink", { name })}
          onDone={onActed}
        />
      ) : (
        <Act
          title="Pause"
          explanation="Sends nothing. Changes wait in the state database, within the bounds of the spool. Lasts over a restart."
          isDangerous
          perform={() => api.call("pauseSink", { name })}
          onDone={onActed}
        />
      )}
      {parked === 0 ? null : (
        <Act
          title="Replay"
          explanation="Sends all parked messages again, after everything that waits. They may be older than what the target has."
          perform={async () => {
            const { messages, note } = await api.call("replayParked", { name });
            return { lasts: true, note: `${count(messages, "message")}. ${note}` };
          }}
          onDone={onActed}
        />
      )}
    </div>
  );
}
