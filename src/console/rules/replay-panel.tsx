import type { ReactNode } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import { Failure } from "../ui/failure.tsx";
import { count } from "../ui/numbers.ts";
import { useLatest } from "./use-latest.ts";

/** A pause in typing that begins a replay. */
const PAUSE_MS = 600;

/** The effect of a draft on recorded requests. */
export type Replay = NonNullable<Extract<AnswerOf<"replay">, { readonly replay: unknown }>["replay"]>;

interface ReplayPanelProps {
  readonly text: string;
  /** The set in force, which the draft is compared with. */
  readonly inForce: number;
}

/** The recorded requests under a draft without mistakes: their users may be offline. */
export function ReplayPanel({ text, inForce }: ReplayPanelProps): ReactNode {
  const { api } = useSession();
  const { value, error, isPending } = useLatest(
    `${inForce}\n${text}`,
    (signal) => api.call("replay", text, { signal }),
    PAUSE_MS,
  );
  return (
    <section className="stack-small" aria-label="Recorded requests" aria-busy={isPending}>
      {error !== null ? (
        <Failure error={error} />
      ) : value === null || "problems" in value ? (
        <p className="hint">Replaying recorded requests …</p>
      ) : value.replay === null ? (
        <p className="hint">
          No requests are recorded. With <code>rules.record: 7d</code>, the effect on users who are offline
          now appears here.
        </p>
      ) : (
        <ReplayResult replay={value.replay} />
      )}
    </section>
  );
}

type Effect = keyof Replay["effects"];

const TEXTS: readonly (readonly [Effect, string])[] = [
  ["refused", "would be refused"],
  ["loses", "lose documents or fields"],
  ["changes", "show other documents or fields"],
  ["gains", "gain documents or fields"],
  ["allowed", "would be allowed, and are refused now"],
  ["unknown", "unknown: the draft reads a claim that was not recorded"],
  ["unchanged", "show the same"],
];
const SERIOUS = new Set<string>(["refused", "loses", "changes"]);

/** The outcome of a replay. */
export const ReplayResult = ({
  replay: { requests, effects, samples },
}: {
  readonly replay: Replay;
}): ReactNode => (
  <>
    <h3>{count(requests, "recorded request")}</h3>
    <ul className="replay">
      {TEXTS.filter(([effect]) => effects[effect] > 0).map(([effect, text]) => (
        <li key={effect}>
          <strong className={SERIOUS.has(effect) ? "bad" : undefined}>
            {effects[effect].toLocaleString("en")}
          </strong>{" "}
          {text}
          <Samples samples={samples.filter((sample) => sample.effect === effect)} />
        </li>
      ))}
    </ul>
  </>
);

const Samples = ({ samples }: { readonly samples: Replay["samples"] }): ReactNode =>
  samples.length === 0 ? null : (
    <details>
      <summary>{count(samples.length, "example")}</summary>
      <ul className="parts">
        {samples.map(({ request, claims }) => (
          <li key={JSON.stringify([request, claims])}>
            {claims === null ? "anonymous" : <code>{JSON.stringify(claims)}</code>}
            <pre>{JSON.stringify(request)}</pre>
          </li>
        ))}
      </ul>
    </details>
  );
