import { useCallback, useEffect, useRef, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";

/** The answer of the node to an edit, or to its dry run. */
export type EditAnswer = AnswerOf<"applyRules">;
/** An answer that says for certain whether the edit is in force. */
type CertainAnswer = Exclude<EditAnswer, { readonly unconfirmed: unknown }>;
/** The edits of others that are in the way. */
export type Conflict = Extract<EditAnswer, { readonly conflict: unknown }>["conflict"];

/** An edit that an admin is about to apply. */
export interface AskedEdit {
  readonly message: string;
  /**
   * Applies the edit; without a message, only checks it. It stays the same function while the edit is the same.
   */
  readonly ask: (message: string | null, signal?: AbortSignal) => Promise<EditAnswer>;
  readonly onApplied: (set: number) => void;
}

/** How far an edit has come. */
export type EditPhase =
  | { readonly kind: "planning" }
  | { readonly kind: "answered"; readonly answer: CertainAnswer }
  | { readonly kind: "applying"; readonly answer: CertainAnswer }
  | { readonly kind: "applied"; readonly set: number }
  /** MongoDB has not confirmed the new set. */
  | { readonly kind: "unconfirmed"; readonly set: number; readonly text: string }
  | { readonly kind: "failed"; readonly error: unknown; readonly wasApplying: boolean };

/** Plans an edit, again if it becomes another one, and applies it. */
export function useEdit({ message, ask, onApplied }: AskedEdit) {
  const { name } = useSession();
  const [phase, setPhase] = useState<EditPhase>({ kind: "planning" });
  const isApplied = useRef(false);
  const settle = useRef((_answer: EditAnswer) => {});
  settle.current = (answer) => {
    if ("unconfirmed" in answer) {
      setPhase({ kind: "unconfirmed", ...answer.unconfirmed });
      return;
    }
    // An answer may have been lost, because the node was killed after the edit.
    const own = "conflict" in answer ? ownEditIn(answer.conflict, name, message) : null;
    const set = "applied" in answer ? answer.applied : own;
    if (set === null) setPhase({ kind: "answered", answer });
    else confirm.current(set);
  };
  const confirm = useRef((_set: number) => {});
  confirm.current = (set) => {
    isApplied.current = true;
    setPhase({ kind: "applied", set });
    onApplied(set);
  };
  const plan = useCallback(
    (signal?: AbortSignal) => {
      setPhase({ kind: "planning" });
      ask(null, signal).then(
        (answer) => settle.current(answer),
        (error: unknown) => {
          if (signal?.aborted !== true) setPhase({ kind: "failed", error, wasApplying: false });
        },
      );
    },
    [ask],
  );
  useEffect(() => {
    // The draft begins with the new set now, which is no further edit.
    if (isApplied.current) return;
    const abort = new AbortController();
    plan(abort.signal);
    return () => abort.abort();
  }, [plan]);
  const apply = async (answer: CertainAnswer) => {
    setPhase({ kind: "applying", answer });
    try {
      settle.current(await ask(message));
    } catch (error) {
      setPhase({ kind: "failed", error, wasApplying: true });
    }
  };
  /** The edit is in force after all. */
  const onConfirmed = useCallback((set: number) => confirm.current(set), []);
  return { phase, plan, apply, onConfirmed };
}

/** The number of the set if the only edit in the way is this one itself. */
function ownEditIn({ since, inForce }: Conflict, name: string, message: string): number | null {
  const [only, ...others] = since;
  const isOwn =
    only !== undefined && others.length === 0 && only.author === name && only.message === message.trim();
  return isOwn ? inForce : null;
}
