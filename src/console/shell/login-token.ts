/** A login that a link carries: `#login=SECRET`. Browsers do not send this part of a URL to any server. */
const LOGIN_LINK = /^#login=([\x21-\x7e]+)$/;

/**
 * Calls a listener for each link with a login that is opened in this very tab. That changes the address of the page, and does
 * not load it again.
 * @returns Ends the calls.
 */
export function onLoginLink(listener: () => void): () => void {
  const changed = () => {
    if (LOGIN_LINK.test(location.hash)) listener();
  };
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
}

/** The token of a link, which is removed from the address and from the history of the browser. */
export function takeLoginToken(): string | null {
  const [, token] = LOGIN_LINK.exec(location.hash) ?? [];
  if (token === undefined) return null;
  history.replaceState(null, "", location.pathname);
  try {
    return decodeURIComponent(token);
  } catch {
    return token; // not encoded: the node refuses it, or it is a token as it is
  }
}
