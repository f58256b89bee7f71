/** The three people in front of the demo's board. */
export interface Viewer {
  readonly name: string;
  /** Their roles and visible orders, in a few words. */
  readonly title: string;
  readonly sees: string;
  readonly claims: Readonly<Record<string, unknown>>;
  /**
   * The filter and projection that give the same result with `find`. They repeat the rules in config/demo.yaml
   * independently, so that one can be checked against the other.
   */
  readonly visible: {
    readonly filter: Readonly<Record<string, unknown>>;
    readonly projection: Readonly<Record<string, 0 | 1>>;
  };
}

/** The three viewers of the demo, in the order of their columns. */
export const VIEWERS = [
  {
    name: "ada",
    title: "ada, admin",
    sees: "every order, all fields",
    claims: { sub: "ada", roles: ["admin"] },
    visible: { filter: {}, projection: {} },
  },
  {
    name: "ben",
    title: "ben, customer",
    sees: "own orders, no margin",
    claims: { sub: "ben" },
    visible: { filter: { customer: "ben" }, projection: { margin: 0, courier: 0 } },
  },
  {
    name: "cleo",
    title: "cleo, courier",
    sees: "her rides, no prices",
    claims: { sub: "cleo", roles: ["courier"] },
    visible: {
      filter: { courier: "cleo", status: { $in: ["ready", "riding"] } },
      projection: { status: 1, address: 1, courier: 1 },
    },
  },
] as const satisfies readonly Viewer[];
