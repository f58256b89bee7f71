/** A text without the URL that it may quote, and without the user and the password in that URL. */
export function withoutCredentials(text: string, url: string): string {
  const { username, password } = URL.canParse(url) ? new URL(url) : { username: "", password: "" };
  const secrets = [url, password, decoded(password), username, decoded(username)].filter(
    (part) => part !== "",
  );
  return secrets.reduce((shown, secret) => shown.replaceAll(secret, "…"), text);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}
