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
    path: "rules",
    title: "Rules",
    key: "r",
    role: "view",
    Component: lazy(() => import("../rules/rules-view.tsx")),
  },
];
