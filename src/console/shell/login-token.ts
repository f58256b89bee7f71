/** A login that a link carries: `#login=SECRET`. Browsers do not send this part of a URL to any server. */
const LOGIN_LINK = /^#login=([\x21-\x7e]+)$/;

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
