/**
 * The algorithms that may be listed, by family: a key serves one family (RFC 7518, RFC 8037, RFC 9864). `none` is
 * absent on purpose: a configuration cannot permit unsigned tokens.
 */
export const ALGORITHM_FAMILIES = {
  HS256: "HS",
  HS384: "HS",
  HS512: "HS",
  RS256: "RS",
  RS384: "RS",
  RS512: "RS",
  PS256: "PS",
  PS384: "PS",
  PS512: "PS",
  ES256: "ES",
  ES384: "ES",
  ES512: "ES",
  EdDSA: "EdDSA",
  Ed25519: "EdDSA",
} as const;
/**
 * A signature algorithm that tokens may use (RFC 7518, section 3.1; RFC 8037; RFC 9864 for Ed25519, the fully specified
 * name of EdDSA).
 */
export type Algorithm = keyof typeof ALGORITHM_FAMILIES;
/** Algorithms of one family use the same kind of key. */
export type AlgorithmFamily = (typeof ALGORITHM_FAMILIES)[Algorithm];

/** The families of some algorithms, each once. */
export function familiesOf(algorithms: readonly Algorithm[]): AlgorithmFamily[] {
  return [...new Set(algorithms.map((name) => ALGORITHM_FAMILIES[name]))];
}

// `Object.keys` returns plain strings, so the cast restores the literal types of ALGORITHM_FAMILIES.
/** Every algorithm that the configuration may name. */
export const ALGORITHMS = Object.keys(ALGORITHM_FAMILIES) as [Algorithm, ...Algorithm[]];
