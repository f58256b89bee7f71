import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import { Act } from "../ui/act.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Facts } from "../ui/facts.tsx";
import { Failure } from "../ui/failure.tsx";
import { bytes, count } from "../ui/numbers.ts";
import { Scroll } from "../ui/scroll.tsx";
import { dateTime } from "../ui/times.ts";
import { useAnswer } from "../ui/use-answer.ts";
import { SinkState } from "./sink-state.tsx";

type Sink = AnswerOf<"sinks">["sinks"][number];

const REFRESH_MS = 5_000;
/** Parked messages that the dialog shows. `tidewire sinks parked` prints all. */
const SHOWN = 50;

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
  return (
    <div className="stack">
      {sink.trouble === null ? null : <p className="notice warn">{sink.trouble}</p>}
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
          ["Oldest", oldestAt === null ? "–" : dateTime(oldestAt)],
          [
            "Resets",
            lastReset === null
              ? "none"
              : `${sink.resets}, the last at ${dateTime(lastReset.at)} (${lastReset.reason})`,
          ],
        ]}
      />
      <Parked sink={sink} />
      {roles.has("act") ? (
        <Acts sink={sink} onActed={onActed} />
      ) : (
        <p className="hint">To pause, resume or replay, a token needs the role act.</p>
      )}
    </div>
  );
}

function Parked({ sink: { name, parked } }: { readonly sink: Sink }): ReactNode {
  const { value, error } = useAnswer("parkedMessages", { name, limit: SHOWN }, REFRESH_MS);
  if (value === null) return error === null ? <p className="hint">Loading …</p> : <Failure error={error} />;
  if (value.messages.length === 0) return <p className="hint">Nothing is parked.</p>;
  return (
    <>
      <h3>
        {count(parked, "parked message")}
        {value.next === null ? "" : `, the first ${SHOWN}`}
      </h3>
      <Scroll label="Parked messages">
        <table>
          <thead>
            <tr>
              <th scope="col">Id</th>
              <th scope="col">Last answer</th>
              <th scope="col" className="number">
                Attempts
              </th>
              <th scope="col">Parked</th>
            </tr>
          </thead>
          <tbody>
            {value.messages.map(({ id, reason, attempts, parkedAt }) => (
              <tr key={id}>
                <td>
                  <code>{id}</code>
                </td>
                <td>{reason}</td>
                <td className="number">{attempts}</td>
                <td>{dateTime(parkedAt)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </Scroll>
    </>
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
