import { type ComponentType, lazy } from "react";
import type { Role } from "./session.ts";

/** A view of the console. */
export interface View {
  /** Its path in the address. */
  readonly path: string;
  readonly title: string;
  /** After `g`. */
  readonly key: string;
  /** The role without which its endpoints refuse. */
  readonly role: Role;
  readonly Component: ComponentType;
}

/** The views in the order of the navigation. Each is a chunk of its own. */
export const VIEWS: readonly View[] = [
  {
    path: "overview",
    title: "Overview",
    key: "o",
    role: "view",
    Component: lazy(() => import("../overview/overview-view.tsx")),
  },
  {
    path: "rules",
    title: "Rules",
    key: "r",
    role: "view",
    Component: lazy(() => import("../rules/rules-view.tsx")),
  },
  {
    path: "try",
    title: "Try",
    key: "t",
    role: "view",
    Component: lazy(() => import("../try/try-view.tsx")),
  },
  {
    path: "connections",
    title: "Connections",
    key: "c",
    role: "view",
    Component: lazy(() => import("../connections/connections-view.tsx")),
  },
  {
    path: "live-queries",
    title: "Live queries",
    key: "l",
    role: "view",
    Component: lazy(() => import("../live-queries/live-queries-view.tsx")),
  },
  {
    path: "sinks",
    title: "Sinks",
    key: "s",
    role: "view",
    Component: lazy(() => import("../sinks/sinks-view.tsx")),
  },
  {
    path: "trace",
    title: "Trace",
    key: "f",
    role: "act",
    Component: lazy(() => import("../trace/trace-view.tsx")),
  },
  {
    path: "revocations",
    title: "Revocations",
    key: "v",
    role: "view",
    Component: lazy(() => import("../revocations/revocations-view.tsx")),
  },
  {
    path: "push",
    title: "Push",
    key: "p",
    role: "view",
    Component: lazy(() => import("../push/push-view.tsx")),
  },
  {
    path: "audit",
    title: "Audit",
    key: "a",
    role: "view",
    Component: lazy(() => import("../audit/audit-view.tsx")),
  },
];
