import { Component, type ReactNode } from "react";
import { Failure } from "./failure.tsx";

interface FaultBoundaryState {
  readonly error: unknown;
}

/**
 * Contains an unexpected error of a view: the navigation stays. The usual cause is a file of the page that the node does
 * not have any more after an update, so that a reload helps.
 */
export class FaultBoundary extends Component<{ readonly children: ReactNode }, FaultBoundaryState> {
  override state: FaultBoundaryState = { error: null };

  static getDerivedStateFromError(error: unknown): FaultBoundaryState {
    return { error };
  }

  override render(): ReactNode {
    const { error } = this.state;
    if (error === null) return this.props.children;
    return <Failure error={error} onRetry={() => location.reload()} />;
  }
}
