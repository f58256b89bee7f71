/** Loaded into the demo's processes ahead of their own code: they end when the demo does, however that ends. */
// By a signal: `process.exit` of Node 20 was seen to wait for ever for a thread, and then nobody ends the process.
process.once("disconnect", () => process.kill(process.pid, "SIGKILL"));
// Without this, the listener would keep an otherwise idle process alive.
process.channel?.unref();
