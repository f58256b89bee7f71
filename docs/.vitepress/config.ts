/** The pages as a static site: `npm run docs` builds it into `docs/.vitepress/dist`, `npm run docs:dev` serves it. */
import { copyFileSync, mkdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type MarkdownOptions } from "vitepress";
import { resolveLink, slugify, toPage } from "./pages.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The files that pages link to, collected while they are rendered and copied at the end of the build. */
const linkedFiles = new Set<string>();

type Markdown = Parameters<NonNullable<MarkdownOptions["config"]>>[0];

function resolveLinks(md: Markdown): void {
  md.core.ruler.push("repository-links", (state) => {
    const from = relative(ROOT, state.env.realPath ?? state.env.path);
    for (const { children } of state.tokens) {
      for (const token of children ?? []) {
        const link = token.type === "link_open" ? token.attrGet("href") : null;
        if (link === null) continue;
        const { href, file } = resolveLink(ROOT, from, link);
        token.attrSet("href", href);
        if (file === undefined) continue;
        linkedFiles.add(file);
        token.attrSet("target", "_blank");
      }
    }
  });
}

const page = (text: string, link: string) => ({ text, link });

const sidebar = [
  {
    text: "Get started",
    items: [
      page("Overview", "/"),
      page("Quick start", "/start"),
      page("Comparison", "/compare"),
      page("Examples", "/examples/"),
      page("Recipes", "/recipes"),
    ],
  },
  {
    text: "Clients",
    items: [
      page("Client library", "/clients"),
      page("Client for Python", "/python"),
      page("Writes", "/writes"),
      page("Push notifications", "/push"),
      page("Protocol", "/protocol"),
      page("Build a client", "/building-a-client"),
      page("Protocol kit", "/protocol-kit/"),
      page("SSE and polling", "/transports"),
      page("Socket.IO", "/socketio"),
      page("gRPC and Connect", "/grpc"),
      page("Errors and close codes", "/errors"),
      page("Guarantees", "/guarantees"),
    ],
  },
  {
    text: "Service",
    items: [
      page("Rules", "/rules"),
      page("Targets of sinks", "/sink-targets"),
      page("Configuration", "/configuration"),
      page("Deployment", "/deployment"),
      page("Sinks", "/sinks"),
      page("Operations", "/operations"),
      page("Console", "/console"),
      page("API for admins", "/admin-api"),
      page("Security", "/security"),
      page("Performance", "/performance"),
      page("Capacity", "/capacity"),
      page("Load tests", "/load-testing"),
    ],
  },
  {
    text: "Migration",
    items: [
      page("From App Services", "/moving/from-app-services"),
      page("From Firestore", "/moving/from-firestore"),
      page("From Socket.IO rooms", "/moving/from-socketio"),
    ],
  },
  {
    text: "Project",
    items: [
      page("Architecture", "/architecture"),
      page("Decisions", "/decisions/"),
      page("Contributing", "/contributing"),
      page("Benchmark", "/bench"),
      page("Changelog", "/changelog"),
      page("Reporting a vulnerability", "/reporting"),
    ],
  },
];

export default defineConfig({
  title: "Tidewire",
  description: "Live queries on your own MongoDB: authorized, exact, resumable.",
  lang: "en",
  base: process.env["DOCS_BASE"] ?? "/",
  srcDir: "..",
  srcExclude: ["src/**", "test/**", "dist/**", ".ci/**", ".tidewire/**", "README.md"],
  rewrites: (id) => toPage(id) ?? id,
  ignoreDeadLinks: "localhostLinks",
  vite: { publicDir: false },
  markdown: { anchor: { slugify }, config: resolveLinks },
  buildEnd({ outDir }) {
    for (const file of linkedFiles) {
      const copy = join(outDir, "files", `${file}.txt`);
      mkdirSync(dirname(copy), { recursive: true });
      copyFileSync(join(ROOT, file), copy);
    }
  },
  themeConfig: {
    search: { provider: "local" },
    sidebar,
    nav: [page("Quick start", "/start"), page("Protocol", "/protocol"), page("Operations", "/operations")],
    outline: [2, 3],
  },
});
