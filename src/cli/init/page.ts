/** The client that `init` writes: a page without a build step, or a page of Next. */

/** A page that lists one collection and says why it is empty. */
export function htmlPage(collection: string): string {
  const name = JSON.stringify(collection).replaceAll("<", "\\u003c");
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Live list</title>
<h1></h1>
<p id="status" role="status">connecting</p>
<ul id="list"></ul>
<script type="module">
  import { createClient } from "/tidewire/tidewire.js";

  const url = "http://127.0.0.1:8480";
  const hint = "Does the service run at " + url + " (npx tidewire start)? This page tries again.";
  const collection = ${name};
  const notAllowed =
    "No rule of config/tidewire.yaml lets this user read " + collection + " yet. Edit the rules, then reload this page.";
  const client = createClient({
    url,
    token: async () => {
      const response = await fetch("/token");
      if (!response.ok) throw new Error("the backend answers /token with " + response.status);
      return response.text();
    },
  });

  const item = (document_) => {
    const li = document.createElement("li");
    li.textContent = JSON.stringify(document_);
    return li;
  };
  const say = (text) => {
    document.querySelector("#status").textContent = text;
  };

  document.querySelector("h1").textContent = collection;
  client.collection(collection).find().subscribe({
    data: (documents) => document.querySelector("#list").replaceChildren(...documents.map(item)),
    status: (status) => {
      if (status === "live") say("live");
    },
    error: (error) => {
      if (error.code === "forbidden") say(notAllowed);
      else if (error.retry === "later") say("Not connected: " + error.message + ". " + hint);
      else say(error.message);
    },
  });
</script>
`;
}

/** The same page as a client component of Next's app router. */
export function nextPage(collection: string): string {
  return `"use client";

import { createClient } from "tidewire/client";
import { TidewireProvider, useLiveQuery, useTidewire } from "tidewire/react";

const SERVICE = "http://127.0.0.1:8480";
const COLLECTION = ${JSON.stringify(collection)};

const client = createClient({
  url: SERVICE,
  token: async () => {
    const response = await fetch("/token");
    if (!response.ok) throw new Error(\`the backend answers /token with \${response.status}\`);
    return response.text();
  },
});

function List() {
  const documents = useTidewire().collection<{ _id: string }>(COLLECTION);
  const { data, status, error } = useLiveQuery(documents.find());
  if (error?.retry === "later")
    return <p role="alert">Not connected: {error.message}. Does the service run at {SERVICE} (npx tidewire start)?</p>;
  if (error) return <p role="alert">{error.message}. Edit config/tidewire.yaml, then reload this page.</p>;
  return (
    <ul aria-busy={status !== "live"}>
      {data.map((item) => (
        <li key={JSON.stringify(item._id)}>{JSON.stringify(item)}</li>
      ))}
    </ul>
  );
}

export default function Page() {
  return (
    <TidewireProvider client={client}>
      <h1>{COLLECTION}</h1>
      <List />
    </TidewireProvider>
  );
}
`;
}
