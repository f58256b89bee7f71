/**
 * Turns changes of a live query into payloads. It parses the very messages that clients receive, so a payload can hold
 * nothing that a client of the same rights would not see.
 */
import type { Chunk, EncodedMessage } from "../feed/chunk.ts";
import { PAYLOAD_BYTES_MAX } from "./encrypt-payload.ts";
import type { PushTemplate } from "./options.ts";
import { PUSH_KINDS, type PushKind } from "./parse-registration.ts";
import { renderTexts, type ShownDocument, type Texts } from "./render.ts";

/** The latest of the changes in a chunk that a registration asks for. */
export interface LatestChange {
  readonly kind: PushKind;
  readonly message: EncodedMessage;
  /** The number of these changes, this one included. */
  readonly count: number;
}

const isKind = (type: string): type is PushKind => PUSH_KINDS.some((kind) => kind === type);

/** Finds the latest change that is asked for; `null` if there is none. */
export function latestChange(chunk: Chunk, on: readonly PushKind[]): LatestChange | null {
  let latest: LatestChange | null = null;
  let count = 0;
  // The chunk as it was encoded is one object for all registrations that receive it.
  for (const message of chunk.base.messages) {
    const { type } = message;
    if (isKind(type) && on.includes(type)) latest = { kind: type, message, count: ++count };
  }
  return latest;
}

/** The texts of one message, under the template of the collection's name. Registrations of a live query share them. */
const rendered = new WeakMap<EncodedMessage, { readonly template: PushTemplate; readonly texts: Texts }>();

/** The parts of a payload that belong to the registration. */
export interface PayloadOf {
  readonly id: string;
  readonly collection: string;
  /** As JSON; `null` if there is none. */
  readonly data: string | null;
  readonly template: PushTemplate | undefined;
}

/** Makes the payload of a change, as JSON. */
export function payloadOf(
  { kind, message }: LatestChange,
  { id, collection, data, template }: PayloadOf,
): string {
  const texts = template === undefined ? {} : textsOf(message, kind, template);
  const rest = {
    collection,
    change: kind,
    registration: id,
    ...(data === null ? {} : { data: JSON.parse(data) }),
  };
  const whole = JSON.stringify({ ...texts, ...rest });
  // Only an unusually long name of a collection leads here.
  return Buffer.byteLength(whole) <= PAYLOAD_BYTES_MAX
    ? whole
    : JSON.stringify({ title: texts.title, ...rest });
}

function textsOf(message: EncodedMessage, kind: PushKind, template: PushTemplate): Texts {
  const known = rendered.get(message);
  if (known?.template === template) return known.texts;
  const texts = render(message, kind, template);
  rendered.set(message, { template, texts });
  return texts;
}

function render({ text }: EncodedMessage, kind: PushKind, template: PushTemplate): Texts {
  const { title, body, url } = template;
  const own = kind === "added" ? undefined : template[kind];
  // The text is a message of the feed, whose form is known.
  const message = JSON.parse(text) as { readonly doc?: ShownDocument; readonly _id?: unknown };
  return renderTexts({ title, body, url, ...own }, message.doc ?? { _id: message._id });
}
