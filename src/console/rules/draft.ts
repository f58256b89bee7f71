/** A configuration that is being edited in this page. */
export interface Draft {
  /** The name of its file. */
  readonly name: string;
  /** The text before any edit. */
  readonly base: string;
  readonly text: string;
  /** A file of tests; empty if there is none. */
  readonly tests: string;
}
