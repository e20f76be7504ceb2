// The runner as the page calls it. Paths are relative: the page may stand behind the prefix of a proxy.
const SECONDS = 15; // the longest wait for a response
let ahead = 0; // milliseconds that the clock of the runner is before this one

export const now = () => Date.now() + ahead;
export const jobPath = (id) => `jobs/${encodeURIComponent(id)}`;
export const jobLink = (id) => `#job/${encodeURIComponent(id)}`;

/** What the runner responds to a GET, with a body to a POST. An Error of its own has a `status`. */
export async function call(path, body) {
  const post = body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  // Not relative to a URL with the token in it: fetch takes none.
  const url = new URL(path, location.origin + location.pathname);
  const response = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(SECONDS * 1000), ...post });
  const date = Date.parse(response.headers.get("date"));
  if (Math.abs(date - now()) > 2000) ahead = date - Date.now();
  const content = await response.json();
  if (response.ok) return content;
  throw Object.assign(new Error(content.error.message), { status: response.status });
}
