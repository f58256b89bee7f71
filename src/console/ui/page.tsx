import type { ReactNode } from "react";

interface PageProps {
  readonly title: string;
  /** The purpose of the view in one or two sentences. */
  readonly lead: string;
  readonly actions?: ReactNode;
  readonly children: ReactNode;
}

/** A view: its title, its purpose, and its content. */
export const Page = ({ title, lead, actions, children }: PageProps): ReactNode => (
  <>
    <div className="page-head">
      <div>
        <h1>{title}</h1>
        <p className="lead">{lead}</p>
      </div>
      {actions === undefined ? null : <div className="actions">{actions}</div>}
    </div>
    {children}
  </>
);
