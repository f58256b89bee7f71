/** Loaded into the demo's processes ahead of their own code: they end when the demo does, however that ends. */

// By a signal: `process.exit` of Node 20 was seen to wait for ever for a thread, and then nobody ends the process.
const end = () => process.kill(process.pid, "SIGKILL");

process.once("disconnect", end);
// The demo may have ended while this process started, before anyone listened.
if (process.connected === false) end();
// Without this, the listener would keep an otherwise idle process alive.
process.channel?.unref();
