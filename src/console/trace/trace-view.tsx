import type { ReactNode } from "react";
import { useFields } from "../shell/route.ts";
import { Page } from "../ui/page.tsx";
import { TraceForm } from "./trace-form.tsx";
import { TraceRun } from "./trace-run.tsx";

const LEAD =
  "Follow a user, a live query or a document: which change events come, which rule and clause decide, what is sent, and how long each step takes.";

/** Traces: the form of a new one, or the one that the address names. */
export default function TraceView(): ReactNode {
  const fields = useFields();
  const { id } = fields;
  return (
    <Page title="Trace" lead={LEAD}>
      {id === undefined ? (
        <div className="workbench">
          <TraceForm fields={fields} />
          <section className="empty" aria-label="How a trace works">
            <h2>Nothing is traced yet</h2>
            <p>
              Choose a subject and start. Then let the change happen that you want to understand: it appears
              within a second, with the decision of each rule and the lag of each step.
            </p>
            <p>
              <strong>Connections</strong>, <strong>Live queries</strong> and <strong>Try</strong> have links
              that fill in the form.
            </p>
          </section>
        </div>
      ) : (
        <TraceRun key={id} id={id} />
      )}
    </Page>
  );
}
