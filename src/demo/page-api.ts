/** The requests of the demo's page beside the protocol: JSON both ways, under `/demo/api/`. */

/** `GET board`: the viewers and the rate. */
export interface BoardAnswer {
  readonly viewers: readonly { readonly name: string; readonly title: string; readonly sees: string }[];
  /** Writes per second. */
  readonly rate: number;
  readonly rules: RulesText;
  /** The console of the service, with a login. `null` while the service starts. */
  readonly consoleUrl: string | null;
}

/** The rules of the board, as in the configuration file. */
export interface RulesText {
  /** The path of the file, relative to the demo's working directory. */
  readonly file: string;
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

/** `POST rules`: the file is written, if the configuration is right with them. */
export interface RulesRequest {
  readonly text: string;
}
/** The problems, with their lines in the text. If there are none, the rules were saved. */
export interface RulesAnswer {
  readonly problems: readonly { readonly line: number; readonly message: string }[];
  /** `false` if the new text means the same rules. Then no new generation follows. */
  readonly isEdit: boolean;
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
