/** What the demo's page asks of the service beside the protocol: JSON both ways, under `/demo/api/`. */

/** `GET board`: what there is to show. */
export interface BoardAnswer {
  readonly viewers: readonly { readonly name: string; readonly title: string; readonly sees: string }[];
  /** Writes per second. */
  readonly rate: number;
  readonly rules: RulesText;
}

/** The rules of the board as they stand in the configuration file. */
export interface RulesText {
  /** The file, from where the demo was started. */
  readonly file: string;
  readonly text: string;
  /** As the demo brings them. */
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
/** What is wrong, and in which line of the text; none: they are saved. */
export interface RulesAnswer {
  readonly problems: readonly { readonly line: number; readonly message: string }[];
  /** `false` where the text says the same in other words: then nothing is to be waited for. */
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
