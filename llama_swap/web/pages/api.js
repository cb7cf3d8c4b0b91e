// Questions to the proxy, and the addresses of things.

/** Where the proxy is mounted, with a slash at its end. */
export const ROOT = new URL("../../", import.meta.url);

export const at = (path) => new URL(path, ROOT).href;
export const modelPage = (key) => at(`ui/models/${encodeURIComponent(key)}`);
export const ownServer = (key) => at(`upstream/${key.split("/").map(encodeURIComponent).join("/")}/`);

/** Return what the proxy says to a GET, from its JSON; throw an Error with its reason if it refuses. */
export async function ask(path, options = {}) {
  const response = await fetch(at(path), { cache: "no-store", ...options });
  if (!response.ok) throw new Error(await refusal(response));
  return response.json();
}

/** Have the proxy do something; throw an Error with its reason if it does not. */
export async function tell(path, method = "POST", body = undefined) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(at(path), { method, headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(await refusal(response));
}

/** Return why a request was refused, in words for people. */
export async function refusal(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return error.message ?? String(error);
  } catch {
    return text && text.length < 200 && !text.startsWith("<") ? text : `status ${response.status}`;
  }
}
