import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { createClient } from "tidewire/client";
import { TidewireProvider } from "tidewire/react";
import { App } from "./app.tsx";
import { backend, user } from "./backend.ts";

const service = new URLSearchParams(location.search).get("service") ?? "http://127.0.0.1:8480";

// One client for the whole page. It connects when the first query is shown, and asks for tokens as it needs them.
const client = createClient({
  url: service,
  token: async () => (await backend<{ token: string }>("token", { user })).token,
});

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
createRoot(root).render(
  <StrictMode>
    <TidewireProvider client={client}>
      <App />
    </TidewireProvider>
  </StrictMode>,
);
