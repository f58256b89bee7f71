/** Loaded into the demo's processes ahead of their own code: they end when the demo does, however that ends. */
process.once("disconnect", () => process.exit(1));
// Listening would otherwise keep a process alive that has nothing else to do.
process.channel?.unref();
