import type { Draft } from "./draft.ts";

const KEY = "tidewire-console.draft";

/** The draft of this tab. It survives a reload, a login, and an update of the node. */
export function readDraft(): Draft | null {
  try {
    const stored: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return isDraft(stored) ? stored : null;
  } catch {
    // Another version of the page has written it.
    return null;
  }
}

/** @returns Whether the browser could keep it. */
export function keepDraft(draft: Draft | null): boolean {
  try {
    if (draft === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, JSON.stringify(draft));
    return true;
  } catch {
    // The store of the tab is full.
    return false;
  }
}

function isDraft(stored: unknown): stored is Draft {
  if (typeof stored !== "object" || stored === null) return false;
  const fields = stored as Record<string, unknown>; // the condition has checked that it is an object
  const { parent } = fields;
  return (
    ["name", "base", "text", "tests", "baseTests", "message"].every(
      (field) => typeof fields[field] === "string",
    ) &&
    (parent === null || typeof parent === "number")
  );
}
