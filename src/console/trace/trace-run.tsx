import { type ReactNode, useEffect, useState } from "react";
import { ApiFailure, failureText } from "../api/failures.ts";
import { goTo } from "../shell/route.ts";
import { useSession } from "../shell/session.ts";
import { Empty } from "../ui/empty.tsx";
import { Failure } from "../ui/failure.tsx";
import { count } from "../ui/numbers.ts";
import { Stale } from "../ui/stale.tsx";
import { type Entry, hasEffect } from "./entries.ts";
import { EntryDialog } from "./entry-dialog.tsx";
import { subjectText } from "./subject.ts";
import { TraceTable } from "./trace-table.tsx";
import { type FollowedTrace, useTrace } from "./use-trace.ts";

const ENDS = {
  time: "its time is over",
  stopped: "an admin has stopped it",
  gone: "nobody follows the live query any more",
  fault: "it had an error, which is in the log",
} as const;

/** A trace that runs, or has ended. */
export function TraceRun({ id }: { readonly id: string }): ReactNode {
  const trace = useTrace(id);
  const { answer, entries, error, answeredAtMs } = trace;
  const [held, setHeld] = useState<readonly Entry[] | null>(null);
  const [isBrief, setIsBrief] = useState(false);
  const [opened, setOpened] = useState<string | null>(null);
  if (answer === null)
    return error === null ? <p className="starting">Loading …</p> : <NoTrace error={error} />;
  const shown = (held ?? entries).filter((entry) => !isBrief || hasEffect(entry));
  const unseen = held === null ? 0 : newSince(entries, held);
  const at = shown.findIndex(({ key }) => key === opened);
  return (
    <>
      <TraceBar trace={trace} />
      {answer.ended === null ? <Stale error={error} answeredAtMs={answeredAtMs} /> : null}
      <div className="bar">
        <label className="check grow">
          <input type="checkbox" checked={isBrief} onChange={({ target }) => setIsBrief(target.checked)} />
          <span>Only events with an effect</span>
        </label>
        {answer.ended !== null && held === null ? null : (
          <button type="button" onClick={() => setHeld(held === null ? entries : null)}>
            {held === null ? "Hold the list" : `Go on${unseen === 0 ? "" : ` (${unseen} new)`}`}
          </button>
        )}
      </div>
      {shown.length === 0 ? (
        <Waiting isEnded={answer.ended !== null} isBrief={isBrief && entries.length > 0} />
      ) : (
        <TraceTable entries={shown} redacted={answer.redacted} onOpen={setOpened} />
      )}
      <p className="hint list-foot">
        <span>
          {count(shown.length, "entry", "entries")}
          {answer.dropped > 0 ? `; the node has dropped ${count(answer.dropped, "older one")}` : ""}
          {answer.skipped > 0
            ? `; ${count(answer.skipped, "event")} not examined, so that no client waits for the trace`
            : ""}
          {answer.lostWorkers > 0 ? `; ${lostText(answer.lostWorkers)}` : ""}
        </span>
      </p>
      <EntryDialog
        entry={shown[at] ?? null}
        redacted={answer.redacted}
        onClose={() => setOpened(null)}
        later={shown[at - 1]?.key ?? null}
        earlier={at < 0 ? null : (shown[at + 1]?.key ?? null)}
        onOpen={setOpened}
      />
    </>
  );
}

const lostText = (workers: number): string =>
  `${count(workers, "worker")} of the node ended meanwhile, so that entries may be missing. The next worker continues the trace`;

function newSince(entries: readonly Entry[], held: readonly Entry[]): number {
  const known = new Set(held.map(({ key }) => key));
  return entries.filter(({ key }) => !known.has(key)).length;
}

const NoTrace = ({ error }: { readonly error: unknown }): ReactNode =>
  error instanceof ApiFailure && error.code === "no-trace" ? (
    <div className="empty">
      <h2>This trace is gone</h2>
      <p>It has ended and the node keeps it no longer, or the worker that had it was restarted.</p>
      <button type="button" className="primary" onClick={() => goTo("trace")}>
        Start another
      </button>
    </div>
  ) : (
    <Failure error={error} />
  );

interface WaitingProps {
  readonly isEnded: boolean;
  /** Whether there are entries, none of which has an effect. */
  readonly isBrief: boolean;
}

function Waiting({ isEnded, isBrief }: WaitingProps): ReactNode {
  if (isBrief) return <Empty title="No event had an effect">Show all events to see why.</Empty>;
  if (isEnded)
    return (
      <Empty title="No event came">
        Nothing was written that concerns the subject, or the user was not connected to this node.
      </Empty>
    );
  return (
    <Empty title="Waiting for the first event">
      Write to a collection that the subject follows, or let the user subscribe. Each event appears within a
      second.
    </Empty>
  );
}

function TraceBar({ trace: { id, answer } }: { readonly trace: FollowedTrace }): ReactNode {
  const { api } = useSession();
  const [error, setError] = useState<unknown>(null);
  if (answer === null) return null;
  const { subject, endsAt, ended, redacted } = answer;
  const stop = () => void api.call("stopTrace", { id }).then(() => setError(null), setError);
  return (
    <div className="bar trace-bar">
      <p className="grow" role="status">
        {ended === null ? <span className="badge good">running</span> : <span className="badge">ended</span>}{" "}
        Following <strong>{subjectText(subject)}</strong>
        {ended === null ? null : <span className="hint">: {ENDS[ended]}</span>}
        {error === null ? null : <span className="bad"> {failureText(error)}</span>}
      </p>
      {redacted ? (
        <span
          className="badge warn"
          title="The reader and the admin who began the trace need the role documents."
        >
          values redacted
        </span>
      ) : null}
      {ended === null ? <Countdown endsAt={endsAt} /> : null}
      <div className="actions">
        {ended === null ? (
          <button type="button" className="danger" onClick={stop}>
            Stop
          </button>
        ) : null}
        <button type="button" className={ended === null ? "quiet" : "primary"} onClick={() => goTo("trace")}>
          New trace
        </button>
      </div>
    </div>
  );
}

/** The time that is left, in whole seconds. */
function Countdown({ endsAt }: { readonly endsAt: string }): ReactNode {
  const [nowMs, setNowMs] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, []);
  const left = Math.max(0, Math.round((Date.parse(endsAt) - nowMs) / 1_000));
  return (
    <span className="hint">
      {Math.floor(left / 60)}:{String(left % 60).padStart(2, "0")} left
    </span>
  );
}
