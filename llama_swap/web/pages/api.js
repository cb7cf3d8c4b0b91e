// Questions to the proxy, and the addresses of things.

/** Where the proxy is mounted, with a slash at its end. */
export const ROOT = new URL("../../../", import.meta.url);

export const at = (path) => new URL(path, ROOT).href;
export const modelPage = (key) => at(`ui/models?id=${encodeURIComponent(key)}`); // web servers rewrite paths, not queries
export const ownServer = (key) => at(`upstream/${key.split("/").map(encodeURIComponent).join("/")}/`);

/** Be fetch(), but for what people are told if there is nobody. */
export async function visit(url, options = {}) {
  try {
    return await fetch(url, { cache: "no-store", ...options });
  } catch (error) {
    throw error instanceof TypeError ? new Error("the proxy does not answer") : error;
  }
}

/** Return what the proxy says to a GET, from its JSON; throw an Error with its reason if it refuses. */
export async function ask(path) {
  const response = await visit(at(path));
  if (!response.ok) throw new Error(await refusal(response));
  return response.json();
}

/** Have the proxy do something; throw an Error with its reason if it does not. */
export async function tell(path, method = "POST", body = undefined) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await visit(at(path), { method, headers, body: JSON.stringify(body) });
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
