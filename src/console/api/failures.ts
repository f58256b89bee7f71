/** A refusal of the API, with its text for the admin. */
export class ApiFailure extends Error {
  override readonly name = "ApiFailure";
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, text: string) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

/** The node cannot be reached. */
export class NoAnswer extends Error {
  override readonly name = "NoAnswer";

  constructor(options: ErrorOptions) {
    super("the node does not answer", options);
  }
}

/** The text of a failure, as a sentence. */
export function failureText(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const sentence = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

/** Whether the same request would be refused again, for example because the connection has ended. */
export const isFinal = (error: unknown): boolean =>
  error instanceof ApiFailure && error.status < 500 && error.status !== 429;
