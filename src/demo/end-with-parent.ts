/** Loaded into the demo's processes ahead of their own code: they end when the demo does, however that ends. */
process.once("disconnect", () => process.exit(1));
// Without this, the listener would keep an otherwise idle process alive.
process.channel?.unref();
