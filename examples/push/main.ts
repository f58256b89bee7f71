/** A page whose user is notified of new orders, also when the page is closed. */
import { createClient } from "tidewire/client";
import { createPush, type Registration } from "tidewire/client/push";

interface Order {
  item: string;
  status: string;
}

const page = new URLSearchParams(location.search);
const url = page.get("service") ?? "http://127.0.0.1:8480";
const user = page.get("user") ?? "ada";

async function token(): Promise<string> {
  const response = await fetch("/token", { method: "POST", body: JSON.stringify({ user }) });
  return (await response.json()).token;
}

const client = createClient({ url, token });
const push = createPush({ url, token });
const open = client.collection<Order>("orders").find({ status: "open" });

const element = (id: string): HTMLElement => {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no element ${id}`);
  return found;
};

open.subscribe(({ data }) => {
  const rows = data.map(({ item }) => {
    const row = document.createElement("li");
    row.textContent = item;
    return row;
  });
  element("orders").replaceChildren(...rows);
});

function show(registrations: readonly Registration[]): void {
  element("status").textContent = registrations.length > 0 ? "You are notified of new orders" : "";
}

// Browsers ask for the permission only after a click.
element("notify").addEventListener("click", async () => {
  if ((await Notification.requestPermission()) !== "granted") {
    element("status").textContent = "Your browser does not allow notifications";
    return;
  }
  await navigator.serviceWorker.register("/sw.js");
  await push.register(open, await navigator.serviceWorker.ready, { data: { user } });
  show(await push.list());
});

element("stop").addEventListener("click", async () => {
  for (const { id } of await push.list()) await push.remove(id);
  show(await push.list());
});

show(await push.list());
