/** The console of the demo's service, with the login of this run. Browsers do not send the part after `#` to any server. */
export const consoleUrlOf = (adminPort: number, adminToken: string): string =>
  `http://127.0.0.1:${adminPort}/#login=${adminToken}`;
