/** Bytes that count how often they are read one by one, so that a test can measure how the work grows without a clock. */
export function countReads(bytes: Uint8Array): { readonly bytes: Uint8Array; reads(): number } {
  let reads = 0;
  const counted = new Proxy(bytes, {
    get(target, key) {
      // The index of a byte comes as text.
      if (typeof key === "string" && /^\d+$/.test(key)) reads++;
      const value: unknown = Reflect.get(target, key);
      // Methods of typed arrays take no proxy.
      return typeof value === "function" && key !== "constructor" ? value.bind(target) : value;
    },
  });
  return { bytes: counted, reads: () => reads };
}
