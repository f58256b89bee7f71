import { type ReactNode, useCallback, useState } from "react";
import type { AnswerOf } from "../../admin/api/endpoints.ts";
import { useSession } from "../shell/session.ts";
import type { Column } from "../ui/data-table.tsx";
import { Empty } from "../ui/empty.tsx";
import { ListView } from "../ui/list-view.tsx";
import { dateTime } from "../ui/times.ts";
import { type LoadPage, usePages } from "../ui/use-pages.ts";
import type { Draft } from "./draft.ts";
import { SetDialog } from "./set-dialog.tsx";

type Row = AnswerOf<"ruleHistory">["sets"][number];

const columnsOf = (inForce: number, open: (set: number) => void): readonly Column<Row>[] => [
  {
    title: "Set",
    hint: "The number of the rule set. Open it to see its edit and its text, or to revert to it.",
    share: 4,
    cell: ({ number }) => (
      <span className="set-name">
        <button type="button" className="link" onClick={() => open(number)}>
          Set {number}
        </button>
        {number === inForce ? <span className="badge good">in force</span> : null}
      </span>
    ),
  },
  {
    title: "Time",
    hint: "When it came into force, in the time zone of this browser.",
    share: 4,
    cell: ({ at }) => dateTime(at),
  },
  { title: "Author", hint: "The admin who applied it.", share: 3, cell: ({ author }) => author },
  {
    title: "Reason",
    hint: "The reason that its author wrote.",
    share: 8,
    cell: ({ message }) => <span title={message}>{message.split("\n")[0]}</span>,
  },
  {
    title: "Tests",
    hint: "The tests of the set. All of them passed, or it would not have been applied.",
    isNumber: true,
    share: 2,
    cell: ({ testResult }) => (testResult === null ? "–" : testResult.tests.toLocaleString("en")),
  },
];

interface HistoryProps {
  /** The set in force. */
  readonly inForce: number;
  /** Another set is in force now. */
  readonly onReverted: () => void;
  /** Opens a set in the editor. */
  readonly onDraft: (draft: Draft) => void;
}

/** The rule sets that were in force, latest first. */
export function History({ inForce, onReverted, onDraft }: HistoryProps): ReactNode {
  const { api } = useSession();
  const [opened, setOpened] = useState<number | null>(null);
  const load = useCallback<LoadPage<Row>>(
    async (before, signal) => {
      const fields = { limit: 100, before: before ?? undefined };
      const { sets, next } = await api.call("ruleHistory", fields, { signal });
      return { rows: sets, next: next === null ? null : String(next) };
    },
    [api],
  );
  const pages = usePages(load);
  return (
    <>
      <ListView
        label="Rule sets"
        unit={["set", "sets"]}
        columns={columnsOf(inForce, setOpened)}
        pages={pages}
        keyOf={({ number }) => String(number)}
        empty={
          <Empty title="No rule set was ever in force">
            Put the first one in force with <code>tidewire rules push FILE -m TEXT</code>.
          </Empty>
        }
      />
      <SetDialog
        set={pages.rows.find(({ number }) => number === opened) ?? null}
        inForce={inForce}
        onClose={() => setOpened(null)}
        onDraft={onDraft}
        onReverted={() => {
          pages.reload();
          onReverted();
        }}
      />
    </>
  );
}
