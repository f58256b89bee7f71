/** The surroundings of a command, so that tests can run it without a process. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  readonly env: NodeJS.ProcessEnv;
  /** Epoch milliseconds. */
  now(): number;
  /** Whether `out` is read by a person at a terminal. */
  readonly terminal?: boolean;
  /** Asks a person at a terminal; unset where there is none. */
  readonly ask?: (question: string) => Promise<string>;
  /** Ends a command that would go on by itself; in a terminal Ctrl-C does. */
  readonly signal?: AbortSignal;
}
