import { type ReactNode, useRef } from "react";
import type { Draft } from "./draft.ts";

interface OpenDraftProps {
  readonly onOpen: (draft: Draft) => void;
}

/** The smallest configuration that the node accepts. */
const SKELETON = `mongodb:
  database: shop

collections:
  orders:
    rules:
      - name: customer
        filter: { customerId: "%%user.sub" }
`;

/** Shown while there is no draft: says how to begin one. */
export function OpenDraft({ onOpen }: OpenDraftProps): ReactNode {
  const input = useRef<HTMLInputElement>(null);
  const read = async (file: File | undefined) => {
    if (file === undefined) return;
    const text = await file.text();
    onOpen({ name: file.name, base: text, text });
  };
  return (
    <section
      className="empty drop"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void read(event.dataTransfer.files[0]);
      }}
      aria-label="Begin a draft"
    >
      <h2>Open the configuration of this node</h2>
      <p>
        Choose its file, usually <code>tidewire.yaml</code>, or drop it here. It is sent to the node to be
        checked and compared with the rules in force; variables such as <code>${"{MONGODB_URI}"}</code> are
        not filled in.
      </p>
      <input
        ref={input}
        type="file"
        className="visually-hidden"
        accept=".yaml,.yml,.json"
        aria-label="Configuration file"
        tabIndex={-1}
        onChange={(event) => void read(event.target.files?.[0])}
      />
      <div className="actions">
        <button type="button" className="primary" onClick={() => input.current?.click()}>
          Open a file …
        </button>
        <button
          type="button"
          onClick={() => onOpen({ name: "tidewire.yaml", base: SKELETON, text: SKELETON })}
        >
          Begin with an example
        </button>
      </div>
    </section>
  );
}
