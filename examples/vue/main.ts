/** The orders of the logged-in user, live: `node examples/serve.mjs vue`. */
import { createClient } from "tidewire/client";
import { tidewire, useLiveQuery, useTidewire } from "tidewire/vue";
import { createApp, defineComponent, h, ref } from "vue";

interface Order {
  _id: string;
  item: string;
  status: "open" | "sent";
}

const page = new URLSearchParams(location.search);
const user = page.get("user") ?? "ada";

async function token(): Promise<string> {
  const response = await fetch("/token", { method: "POST", body: JSON.stringify({ user }) });
  return (await response.json()).token;
}

// A single-file component would have a template here; a render function needs no build step of its own.
const App = defineComponent({
  setup() {
    const orders = useTidewire().collection<Order>("orders");
    const onlyOpen = ref(false);
    // The getter is followed: another filter, another subscription.
    const { data, status, error } = useLiveQuery(() =>
      onlyOpen.value ? orders.find({ status: "open" }) : orders.find(),
    );
    const toggle = () => {
      onlyOpen.value = !onlyOpen.value;
    };
    return () =>
      h("main", [
        h("header", [
          h("h1", `Orders of ${user}`),
          h("p", { role: "status" }, `${data.value.length} shown, ${status.value}`),
        ]),
        h("button", { type: "button", "aria-pressed": onlyOpen.value, onClick: toggle }, "Only open ones"),
        error.value === undefined ? null : h("p", { role: "alert" }, error.value.message),
        h(
          "ul",
          data.value.map((order) =>
            h("li", { key: order._id }, [h("span", order.item), h("span", order.status)]),
          ),
        ),
      ]);
  },
});

const client = createClient({ url: page.get("service") ?? "http://127.0.0.1:8480", token });
createApp(App).use(tidewire(client)).mount("#app");
