import { type ReactNode, useState } from "react";
import { useSession } from "../shell/session.ts";
import { FileButton } from "../ui/file-button.tsx";
import { FileFailure } from "../ui/file-failure.tsx";
import { useFile } from "../ui/use-file.ts";
import { draftOf } from "./begin.ts";
import { type Draft, draftOfFile } from "./draft.ts";

interface OpenDraftProps {
  /** Whether drafts are rule sets, because the rules are in the database. */
  readonly isRuleSet: boolean;
  readonly onOpen: (draft: Draft) => void;
}

/** Shown while there is no draft: says how to begin one. */
export function OpenDraft({ isRuleSet, onOpen }: OpenDraftProps): ReactNode {
  const { api } = useSession();
  const [error, setError] = useState<unknown>(null);
  const readInForce = () => api.call("rules", {}).then((rules) => onOpen(draftOf(rules)), setError);
  const file = useFile((text, name) => onOpen(draftOfFile(name, text)));
  return (
    <section
      className="empty drop"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        const [dropped] = event.dataTransfer.files;
        if (dropped !== undefined) file.read(dropped);
      }}
      aria-label="Begin a draft"
    >
      <h2>Begin with the rules in force, or with a file</h2>
      <p>
        {isRuleSet
          ? "The rule set in force has its comments and its tests. Of a file, which you can drop here as well, only the collections and the tests count."
          : "The rules in force have variables of the environment filled in. A file of yours, which you can drop here as well, keeps its comments and its variables; they are not filled in."}
      </p>
      <FileFailure error={file.error ?? error} />
      <div className="actions">
        <button type="button" className="primary" onClick={() => void readInForce()}>
          Edit the rules in force
        </button>
        <FileButton label="Configuration file" onFile={file.read}>
          Open a file …
        </FileButton>
      </div>
    </section>
  );
}
