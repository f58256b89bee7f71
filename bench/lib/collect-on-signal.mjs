/** Loaded into a server under test by `--import`, where its memory is measured. */
process.on("SIGUSR2", () => {
  for (let i = 0; i < 3; i++) globalThis.gc();
});
