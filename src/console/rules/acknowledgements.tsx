import { type ReactNode, useEffect, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { count } from "../ui/numbers.ts";
import { Stale } from "../ui/stale.tsx";
import { clock } from "../ui/times.ts";
import { useAnswer } from "../ui/use-answer.ts";

type Node = AnswerOf<"ruleNodes">["nodes"][number];

/** Nodes apply an edit within milliseconds. */
const REFRESH_MS = 300;

interface AcknowledgementsProps {
  readonly set: number;
  readonly onClose: () => void;
}

/** Each node that runs, and whether it has a set in force. */
export function Acknowledgements({ set, onClose }: AcknowledgementsProps): ReactNode {
  const { value, error, answeredAtMs } = useAnswer("ruleNodes", {}, REFRESH_MS);
  const [seen, setSeen] = useState<ReadonlySet<string>>(new Set());
  const nodes = value?.nodes ?? [];
  // A node that ends meanwhile stays in the list, because the admin has seen it.
  useEffect(() => {
    const names = value?.nodes.map(({ node }) => node) ?? [];
    setSeen((before) => (names.every((name) => before.has(name)) ? before : new Set([...before, ...names])));
  }, [value]);
  const gone = [...seen].filter((name) => !nodes.some(({ node }) => node === name));
  const done = nodes.filter(({ generation }) => generation >= set).length;
  return (
    <div className="stack">
      <p role="status">
        <strong>Rule set {set} is in force.</strong>{" "}
        {value === null
          ? "Waiting for the nodes …"
          : `Acknowledged by ${done} of ${count(nodes.length, "node")}.`}
      </p>
      <Stale error={error} answeredAtMs={answeredAtMs} />
      <ul className="nodes">
        {nodes.map((node) => (
          <NodeRow key={node.node} node={node} set={set} />
        ))}
        {gone.map((name) => (
          <li key={name}>
            <code>{name}</code> <span className="badge warn">gone</span>
            <span>It has ended. It begins with rule set {set} when it starts again.</span>
          </li>
        ))}
      </ul>
      <div className="actions">
        <button type="button" className="primary" onClick={onClose}>
          Done
        </button>
      </div>
    </div>
  );
}

function NodeRow({
  node: { node, generation, at, behind, version },
  set,
}: {
  readonly node: Node;
  readonly set: number;
}): ReactNode {
  const isDone = generation >= set;
  const isRefused = !isDone && behind?.set === set;
  return (
    <li>
      <code>{node}</code>
      <span className={isDone ? "badge good" : isRefused ? "badge bad" : "badge"}>
        {isDone ? "in force" : isRefused ? "cannot apply it" : "waiting"}
      </span>
      <span>
        {isDone
          ? `since ${clock(Date.parse(at))}`
          : isRefused
            ? `It keeps rule set ${generation}, and is not ready (version ${version}): ${behind.problem}`
            : `It has rule set ${generation}.`}
      </span>
    </li>
  );
}
