import { type ReactNode, useState } from "react";
import { failureText } from "../api/failures.ts";

/** The effect of an act, for the admin. */
export interface ActDone {
  readonly lasts: boolean;
  readonly note: string;
}

interface ActProps {
  readonly title: string;
  /** The effect, and whether it lasts. */
  readonly explanation: string;
  readonly isDangerous?: boolean;
  readonly perform: () => Promise<ActDone>;
  readonly onDone?: () => void;
}

type Phase =
  | { readonly kind: "idle" | "asking" | "busy" }
  | { readonly kind: "done"; readonly done: ActDone }
  | { readonly kind: "failed"; readonly error: unknown };

/** An act of an admin: explains itself, asks once more, and reports whether its effect lasts. */
export function Act({ title, explanation, isDangerous = false, perform, onDone }: ActProps): ReactNode {
  const [phase, setPhase] = useState<Phase>({ kind: "idle" });
  const run = async () => {
    setPhase({ kind: "busy" });
    try {
      setPhase({ kind: "done", done: await perform() });
      onDone?.();
    } catch (error) {
      setPhase({ kind: "failed", error });
    }
  };
  const isAsking = phase.kind === "asking" || phase.kind === "busy";
  return (
    <div className="act">
      <div>
        <strong>{title}</strong>
        <p className="hint">{explanation}</p>
        <div role="status">
          {phase.kind === "done" ? (
            <p className="notice">
              Done.{" "}
              <span className="badge">{phase.done.lasts ? "lasts over a restart" : "does not last"}</span>{" "}
              {phase.done.note}
            </p>
          ) : null}
          {phase.kind === "failed" ? <p className="bad">{failureText(phase.error)}</p> : null}
        </div>
      </div>
      {isAsking ? (
        <div className="actions">
          <button
            type="button"
            className={isDangerous ? "danger" : "primary"}
            disabled={phase.kind === "busy"}
            onClick={() => void run()}
          >
            Yes, {title.toLowerCase()}
          </button>
          <button type="button" className="quiet" onClick={() => setPhase({ kind: "idle" })}>
            Cancel
          </button>
        </div>
      ) : (
        <button
          type="button"
          className={isDangerous ? "danger" : undefined}
          onClick={() => setPhase({ kind: "asking" })}
        >
          {title}
        </button>
      )}
    </div>
  );
}
