/** The requests of the demo's page beside the protocol: JSON both ways, under `/demo/api/`. */

/** `GET board`: the viewers and the rate. */
export interface BoardAnswer {
  readonly viewers: readonly { readonly name: string; readonly title: string; readonly sees: string }[];
  /** Writes per second. */
  readonly rate: number;
  readonly rules: RulesText;
  /** The console of the service, with a login. */
  readonly consoleUrl: string;
}

/** `GET rules`: the rules of the board in force. */
export interface RulesText {
  /** The number of the rule set in force. */
  readonly set: number;
  readonly text: string;
  /** The rules at the start of the demo. */
  readonly original: string;
}

/** `POST token` */
export interface TokenRequest {
  readonly viewer: string;
}
/** Answer of `POST token`: a token of the viewer. */
export interface TokenAnswer {
  readonly token: string;
}

/** `POST rules`: puts the rules in force, as a new rule set. */
export interface RulesRequest {
  readonly text: string;
  /** The set from which the edit starts. */
  readonly set: number;
}
/** The problems, with their lines in the text. If there are none, the rules are in force. */
export interface RulesAnswer {
  readonly problems: readonly { readonly line: number; readonly message: string }[];
  /** The number of the new set; `null` if the new text means the same rules. */
  readonly set: number | null;
  /** The set in force if it is another one than that from which the edit starts; otherwise `null`. */
  readonly inForce: number | null;
}

/** `POST rate` */
export interface RateRequest {
  readonly rate: number;
}

/** `POST find`: the answer of MongoDB itself, at a time. */
export interface FindRequest {
  readonly viewer: string;
}
/** Answer of `POST find`: the documents, and the cluster time at which MongoDB read them. */
export interface FindAnswer {
  /** `null` where no rule lets the viewer in. */
  readonly docs: readonly Readonly<Record<string, unknown>>[] | null;
  readonly at: { readonly t: number; readonly i: number };
}
