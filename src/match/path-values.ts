/** The keys (`valueKey`) of every value that `$eq` would see at the path; a missing field gives the key of null. */
export declare function equalityKeys(path: string): (document: Uint8Array) => string[];
