/** A page whose users find each other by presence, and talk peer to peer. */
import { createClient } from "tidewire/client";
import { enter, whoIsIn } from "tidewire/client/presence";
import { drawingOf } from "./drawing.ts";
import { post, room, service, user } from "./post.ts";
import { Signals } from "./signals.ts";
import { type Here, type Person, type Talk, Talks } from "./talks.ts";

/** This page, until it is closed or reloaded. Presence keeps the entry of the tab, which outlives a reload. */
const peer = crypto.randomUUID();

const client = createClient({
  url: service,
  token: async () => (await post<{ token: string }>("token", {})).token,
});
const own = enter<Here>(client, room, { peer });

let people: readonly Person[] = [];
let shown: string | null = null;

const talks: Talks = new Talks(
  peer,
  (to, content) => signals.send(to, content),
  (entry) => {
    shown ??= entry;
    render();
  },
);
const signals = new Signals(
  client,
  peer,
  (from) => people.some(({ user: name, data }) => name === from.user && data?.peer === from.peer),
  (from, content) => talks.receive(from, content),
);

whoIsIn<Here>(client, room).subscribe({
  data: (entries) => {
    people = entries.filter(({ data }) => data !== null && data.peer !== peer);
    talks.people = people;
    signals.look();
    render();
  },
});
own.onState(({ status, error }) => {
  const text = { entering: "connecting…", present: "online", left: error?.message ?? "left" }[status];
  element("status").textContent = text;
  element("status").dataset["state"] = status;
});

element("user").textContent = user;
element("room").textContent = room;
document.title = `${user} · ${room}`;

element("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = element<HTMLInputElement>("text");
  const text = input.value.trim();
  if (shown !== null && text !== "" && talks.say(shown, text)) input.value = "";
});
element("video").addEventListener("click", () => {
  element<HTMLButtonElement>("video").disabled = true;
  const stream = drawingOf(user);
  element<HTMLVideoElement>("own-video").srcObject = stream;
  element("own-video").hidden = false;
  talks.show(stream);
});

function render(): void {
  element("people").replaceChildren(...rows());
  const talk = shown === null ? undefined : talks.all.get(shown);
  element("empty").hidden = talk !== undefined;
  element("talk").hidden = talk === undefined;
  if (talk !== undefined) renderTalk(talk);
}

/** Everybody in the room, and those who have left a conversation. */
function rows(): HTMLElement[] {
  const gone = [...talks.all].filter(([entry]) => !people.some(({ _id }) => _id === entry));
  const known = people.map((person) => row(person._id, person.user, () => talks.begin(person)));
  return [...known, ...gone.map(([entry, talk]) => row(entry, talk.user, () => {}))]; // it has begun before
}

function row(entry: string, name: string, begin: () => void): HTMLElement {
  const talk = talks.all.get(entry);
  const button = document.createElement("button");
  button.type = "button";
  button.ariaLabel = talk === undefined ? `Talk to ${name}` : `Show the conversation with ${name}`;
  button.ariaPressed = String(entry === shown);
  const words = talk === undefined ? "here" : STATES[talk.state];
  const unread = talk !== undefined && entry !== shown && talk.unread > 0 ? `${talk.unread} new` : "";
  button.append(part("face", name.slice(0, 1)), part("name", name), part("state", unread || words));
  button.addEventListener("click", () => {
    shown = entry;
    begin();
    render();
  });
  const item = document.createElement("li");
  item.append(button);
  return item;
}

const STATES = {
  connecting: "connecting…",
  connected: "connected, peer to peer",
  reconnecting: "reconnecting…",
  gone: "has left",
} as const;

function renderTalk(talk: Talk): void {
  talk.unread = 0;
  element("with").textContent = talk.user;
  element("state").textContent = STATES[talk.state];
  element("state").dataset["state"] = talk.state;
  const log = element("log");
  // Only the new ones, so that a screen reader reads each text once.
  if (log.dataset["talk"] !== shown) log.replaceChildren();
  log.dataset["talk"] = shown ?? "";
  for (const { isOwn, text } of talk.texts.slice(log.childElementCount)) {
    const line = part(isOwn ? "own" : "other", text);
    log.append(line);
    line.scrollIntoView({ block: "nearest" });
  }
  const isOpen = talk.state === "connected";
  element<HTMLInputElement>("text").disabled = !isOpen;
  element<HTMLButtonElement>("send").disabled = !isOpen;
  const video = element<HTMLVideoElement>("other-video");
  if (video.srcObject !== talk.stream) video.srcObject = talk.stream;
  video.hidden = talk.stream === null;
}

function part(name: string, text: string): HTMLElement {
  const span = document.createElement("span");
  span.className = name;
  span.textContent = text;
  return span;
}

function element<E extends HTMLElement = HTMLElement>(id: string): E {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element ${id}`);
  return found as E; // the page below names the kind of each element
}
