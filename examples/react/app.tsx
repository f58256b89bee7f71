import { useState } from "react";
import { useLiveQuery, useTidewire } from "tidewire/react";
import { backend, user } from "./backend.ts";

/** An order as it comes: what the rules hide is not in it. */
interface Order {
  _id: string;
  item: string;
  status: "open" | "sent";
  at: string;
}

/** You may create the query again in every render: equal queries share one subscription. */
function useOrders(status: string) {
  const orders = useTidewire().collection<Order>("orders");
  const shown = status === "all" ? orders.find() : orders.find({ status: status as Order["status"] });
  return useLiveQuery(shown.sort("at", -1).limit(100));
}

export function App() {
  const [status, setStatus] = useState("all");
  return (
    <main>
      <header>
        <h1>Orders of {user}</h1>
        <Summary status={status} />
      </header>
      <p>
        <label>
          Show{" "}
          <select value={status} onChange={(event) => setStatus(event.target.value)}>
            <option>all</option>
            <option>open</option>
            <option>sent</option>
          </select>
        </label>
      </p>
      <OrderList status={status} />
      <NewOrder />
    </main>
  );
}

function Summary({ status }: { status: string }) {
  const { data, status: connection } = useOrders(status);
  return (
    <p role="status">
      {data.length} shown, {connection}
    </p>
  );
}

function OrderList({ status }: { status: string }) {
  const { data, error } = useOrders(status);
  return (
    <>
      {error !== undefined && <p role="alert">{error.message}</p>}
      <ul>
        {data.map((order) => (
          <li key={order._id}>
            <span>{order.item}</span>
            <span>{order.status}</span>
            {order.status === "open" && (
              <button type="button" onClick={() => backend("send", { user, item: order.item })}>
                Send {order.item}
              </button>
            )}
          </li>
        ))}
      </ul>
    </>
  );
}

function NewOrder() {
  const [item, setItem] = useState("");
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        // Nothing is put into the list here: it comes from the database, like everybody else's.
        void backend("order", { user, item });
        setItem("");
      }}
    >
      <label>
        Item <input value={item} onChange={(event) => setItem(event.target.value)} required />
      </label>{" "}
      <button type="submit">Order</button>
    </form>
  );
}
