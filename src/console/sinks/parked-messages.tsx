import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { Failure } from "../ui/failure.tsx";
import { count } from "../ui/numbers.ts";
import { dateTime } from "../ui/times.ts";
import { useAnswer } from "../ui/use-answer.ts";

type Message = AnswerOf<"parkedMessages">["messages"][number];

const REFRESH_MS = 5_000;
/** Parked messages that the dialog shows. `tidewire sinks parked` prints all. */
const SHOWN = 50;
/** Longer answers of a target are cut, in characters: many targets send a page of HTML. */
const ANSWER_MAX = 160;

interface ParkedMessagesProps {
  readonly sink: { readonly name: string; readonly parked: number };
}

/** The parked messages of a sink. */
export function ParkedMessages({ sink: { name, parked } }: ParkedMessagesProps): ReactNode {
  const { value, error } = useAnswer("parkedMessages", { name, limit: SHOWN }, REFRESH_MS);
  if (value === null) return error === null ? <p className="hint">Loading …</p> : <Failure error={error} />;
  if (value.messages.length === 0) return <p className="hint">Nothing is parked.</p>;
  return (
    <div>
      <h3>
        {count(parked, "parked message")}
        {value.next === null ? "" : `, the first ${SHOWN}`}
      </h3>
      <ul className="parked" aria-label="Parked messages">
        {value.messages.map((message) => (
          <li key={message.id}>
            <ParkedMessage message={message} />
          </li>
        ))}
      </ul>
    </div>
  );
}

function ParkedMessage({ message }: { readonly message: Message }): ReactNode {
  const { id, reason, attempts, parkedAt, event } = message;
  const isCut = reason.length > ANSWER_MAX;
  return (
    <>
      <p>{isCut ? `${reason.slice(0, ANSWER_MAX)} …` : reason}</p>
      <p className="hint">
        {count(attempts, "attempt")}, parked {dateTime(parkedAt)}, id <code>{id}</code>
      </p>
      {isCut || event !== null ? (
        <details>
          <summary>
            {event === null ? "The whole answer" : isCut ? "The whole answer and the event" : "The event"}
          </summary>
          {isCut ? <pre>{reason}</pre> : null}
          {event === null ? null : <pre>{JSON.stringify(event, null, 2)}</pre>}
        </details>
      ) : null}
    </>
  );
}
