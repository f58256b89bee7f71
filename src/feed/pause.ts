/** Settles after this time, in milliseconds. It does not keep the process running. */
export const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
