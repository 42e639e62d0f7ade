// The browser's side of asgi-token-rotation, served at {base_path}/client.js: an ES module without dependencies.
// Its functions do what next-auth/react's do, but "no answer" is never taken for "signed out": where the server can't
// be reached, or answers 4xx, 5xx or no JSON, the promise rejects, and the last session stays. Times: milliseconds.

/**
 * @typedef {{ user?: { name?: string, email?: string, image?: string, [key: string]: any }, expires?: string,
 *   error?: string, accessTokenExpires?: string, refreshAt?: string, [key: string]: any }} Session its times are ISO 8601
 * @typedef {{ id: string, name: string, type: string, signinUrl: string, callbackUrl: string }} Provider
 * @typedef {{ error: string | null, code?: string, status: number, ok: boolean, url: string | null }} SignInResult
 * @typedef {{ redirect?: boolean, redirectTo?: string, callbackUrl?: string }} Redirection callbackUrl: v4's redirectTo
 * @typedef {Redirection & { [field: string]: any }} SignInOptions
 * @typedef {{ redirectTo?: string, signOutOnError?: boolean | string[] }} RefreshOptions
 * @typedef {{ session?: Session | null, due: number, failures: number, acted?: boolean }} News from tab to tab. Without
 *   a session: one of them asks, or asked in vain, and the others may from `due` on
 * @typedef {{ status: number, ok: boolean, data: any, at: number }} Answer at: by the server's clock
 */

const MINUTE = 60_000;
const ANSWER_WITHIN = 30_000; // the server itself waits 10 s for a refresh
const NEWS_WITHIN = 15_000; // what the other tabs leave to the one that asks
const LATE = 5_000; // a timer that rings later than this slept
const TERMINAL = ["RefreshAccessTokenError", "RefreshTokenError"]; // only a new sign-in helps
const EVENTS = ["visibilitychange", "online", "pageshow", "resume", "pagehide", "freeze"];

/**
 * A client with a view of its own: for a copy of this module that is bundled or served elsewhere, and for tests.
 * One closure, since names in it cost one byte each.
 * @param {string} [base] where the endpoints are, such as "/api/auth"; else where this module came from
 * @param {Window & typeof globalThis} [page] what is taken from the browser, when it is used
 */
export function createClient(base, page = /** @type {any} */ (globalThis)) {
  const root = () => (base ?? new URL(".", import.meta.url).href).replace(/\/*$/, "/");
  const name = () => `asgi-token-rotation 1 ${root()}`;
  const listeners = new Set(/** @type {((session: Session | null) => void)[]} */ ([]));
  let session = /** @type {Session | null} */ (null);
  let text = ""; // the session as JSON; empty while nothing is known
  let due = Infinity; // when it is to be asked for, by the wall clock, which the tabs share
  let failures = 0; // in a row
  let acts = 0; // sign-ins, sign-outs, updates: what was asked for before one is old
  let askedAt = -Infinity;
  let reading = /** @type {Promise<Session | null> | null} */ (null);
  let options = /** @type {RefreshOptions | null} */ (null); // of startSessionRefresh, until it is stopped
  let channel = /** @type {BroadcastChannel | null} */ (null);
  let candidacy = /** @type {AbortController | null} */ (null);
  let vacate = () => {};
  let stop = () => {};
  let [leads, ringing, slept, leaving] = [false, false, false, false];
  let [timer, target] = [0, 0]; // what is to ring, and when

  const now = () => page.Date.now();
  const random = () => page.Math.random();
  const here = () => page.location.href;
  const visible = () => page.document.visibilityState === "visible";
  const backOff = () => Math.min(MINUTE, 1_000 * 2 ** failures) * (0.75 + random() / 2);
  /** The errors that a session is to be signed out for. */
  const fatal = () => [options?.signOutOnError ?? []].flatMap((on) => (on === true ? TERMINAL : on || []));

  // --- Asking the server ---------------------------------------------------------------------------------------------

  /** @param {string} path @param {RequestInit} init @returns {Promise<Answer>} */
  async function request(path, init) {
    const response = await page.fetch(root() + path, init);
    const at = Date.parse(response.headers.get("date") ?? "") || now();
    return { status: response.status, ok: response.ok, data: await response.json(), at };
  }

  /** @param {string} path */
  async function get(path) {
    const answer = await request(path, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_WITHIN) });
    if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}.`);
    return answer;
  }

  /** @param {string} path @param {object} fields */
  async function post(path, fields) {
    const headers = { "Content-Type": "application/json", "X-Auth-Return-Redirect": "1" };
    const body = JSON.stringify({ ...fields, csrfToken: await getCsrfToken() });
    return request(path, { method: "POST", headers, body });
  }

  /** @returns {Promise<Session | null>} */
  async function ask() {
    const before = acts;
    askedAt = now();
    const answer = await get("session");
    return before === acts ? judge(answer) : ask();
  }

  /** @param {Answer} answer @returns {Session | null} */
  function judge({ data, at }, acted = false) {
    if (typeof data !== "object" || Array.isArray(data)) throw new Error("The answer is no session.");
    const answered = data && Object.keys(data).length ? data : null; // signed out: null in v5, {} in v4
    // By the server's clock alone. Its header is a second or two old, so this never aims too early.
    const left = Date.parse(answered?.refreshAt ?? answered?.expires ?? "") - at;
    failures = left <= 0 ? failures + 1 : 0; // the refresh is under way elsewhere, or fails
    const idle = isNaN(left) || [...TERMINAL, ...fatal()].includes(answered.error);
    learn(answered, now() + (idle ? Infinity : left <= 0 ? backOff() : left));
    tell({ session, acted });
    return session;
  }

  function failed() {
    failures++;
    due = now() + backOff();
    tell({});
    settle();
  }

  // --- Among the tabs ------------------------------------------------------------------------------------------------

  /** @param {Session | null} next @param {number} then */
  function learn(next, then) {
    const before = text;
    text = JSON.stringify(next);
    [session, due] = [next, then];
    if (next) leaving = false;
    if (text === before) return;
    // Each in a task of its own, so that one that throws stops nobody else.
    for (const call of listeners) queueMicrotask(() => listeners.has(call) && call(next));
  }

  function open() {
    channel ??= new page.BroadcastChannel(name());
    channel.onmessage = ({ data }) => hear(data);
    return channel;
  }

  /** @param {Partial<News>} news */
  function tell(news) {
    open().postMessage({ failures, due, ...news });
  }

  /** @param {News} news */
  function hear(news) {
    failures = news.failures;
    if (news.acted) acts++;
    if (news.session === undefined) due = Math.max(due, news.due);
    else learn(news.session, news.due);
    settle();
  }

  /** Ask for the leader's seat, which one tab has. */
  function stand() {
    if (candidacy) return;
    const { signal } = (candidacy = new AbortController());
    const hold = () => {
      if (signal.aborted) return undefined;
      leads = true;
      settle();
      return new Promise((resolve) => (vacate = () => resolve(undefined)));
    };
    page.navigator.locks?.request(name(), { signal }, hold).catch(() => {}); // withdrawn, or a sandboxed page
  }

  function withdraw() {
    candidacy?.abort();
    candidacy = null;
    leads = false;
    vacate();
  }

  // --- The timer -----------------------------------------------------------------------------------------------------

  /** The leader's rings when it is due, the others' later, where the leader's news did not come. */
  function aim() {
    const others = (visible() ? 2_000 : MINUTE) * (1 + random()); // a hidden tab's timers ring once a minute
    const jitter = due < now() ? 1_000 * random() : 0; // after an outage everybody is late at once
    target = Math.max(due, now()) + (leads ? 0 : others) + jitter;
    wait();
  }

  /** By the minute: a long timer is late by what the machine slept, and one over 2³¹ ms rings at once. */
  function wait() {
    page.clearTimeout(timer);
    const left = target - now();
    if (left < Infinity) timer = page.setTimeout(() => step(left), Math.min(Math.max(left, 0), MINUTE));
  }

  /** @param {number} before what was left then; if more is left now, the clock was set back */
  function step(before) {
    const late = now() - target;
    if (late < 0 && -late <= before) return wait();
    slept = late > LATE && !slept && (visible() || !leads);
    return slept ? aim() : ring();
  }

  async function ring() {
    ringing = true;
    tell({ due: now() + NEWS_WITHIN });
    const ended = fatal().includes(session?.error ?? "");
    await (ended ? signOut({ redirect: false }) : getSession()).catch(failed);
    ringing = false;
    settle();
  }

  /** What follows from what is known. */
  function settle() {
    if (!options) return;
    if (due === Infinity && fatal().includes(session?.error ?? "")) due = now();
    if (!ringing && !reading) aim();
    if (text !== "null" || leaving || !options.redirectTo) return;
    const [to, at] = [new URL(options.redirectTo, here()), new URL(here())];
    if (to.origin === at.origin && to.pathname === at.pathname && (!to.hash || to.hash === at.hash)) return; // there
    leaving = true;
    go(to.href);
  }

  /** @param {string} url */
  function go(url) {
    const samePage = url.includes("#") && url.split("#")[0] === here().split("#")[0];
    page.location.href = url;
    if (samePage) page.location.reload(); // else it would only scroll
  }

  /** @param {Event & { persisted?: boolean }} event */
  function woken({ type, persisted }) {
    if (type === "pagehide" || type === "freeze") return withdraw();
    if (type === "pageshow" && !persisted) return;
    if (persisted) leaving = false; // out of the history
    const shown = type !== "visibilitychange" || visible();
    if (persisted || (shown && (failures || due === Infinity))) due = Math.max(now(), askedAt + LATE);
    stand();
    settle();
  }

  /**
   * Where an answer leads, and why it failed, if so: that stands in its query (Auth.js contract, 4.2).
   * @param {Answer} answer @param {string} wish where to; its own query says nothing
   */
  function outcome({ ok, data }, wish) {
    const url = /** @type {string} */ (data?.url ?? "");
    const query = new URL(url || "none:").searchParams;
    const told = query.get("error") ?? data?.error ?? (query.has("csrf") && "MissingCSRF");
    if (ok && url && (!told || url === new URL(wish, here()).href)) return { url, failure: null };
    return { url, failure: { error: String(told || "Unknown"), code: query.get("code") ?? undefined } };
  }

  // --- What pages call -----------------------------------------------------------------------------------------------

  /** The session; null: nobody is signed in. One request for all who ask at once. Rejects where it is not known. */
  function getSession() {
    reading ??= ask().finally(() => {
      reading = null;
      settle();
    });
    return reading;
  }

  /** For the field `csrfToken` of a form of your own. @returns {Promise<string>} */
  const getCsrfToken = async () => (await get("csrf")).data.csrfToken;

  /** How one can sign in, by id. @returns {Promise<Record<string, Provider>>} */
  const getProviders = async () => (await get("providers")).data;

  /**
   * Sign in. With credentials, their fields stand among the options; with `redirect: false` the outcome is told. Other
   * providers take `params` for their authorization URL. Without a provider that the server knows: to the sign-in page.
   * @param {string} [provider] @param {SignInOptions} [wanted] @param {Record<string, string>} [params]
   * @returns {Promise<SignInResult | void>}
   */
  async function signIn(provider = "", wanted = {}, params) {
    const { redirect = true, callbackUrl, redirectTo = callbackUrl ?? here(), ...fields } = wanted;
    const chosen = (await getProviders())[provider];
    const query = new URLSearchParams(chosen ? params : { callbackUrl: redirectTo });
    if (!chosen) return go(`${root()}signin?${query}`);
    const direct = chosen.type === "credentials";
    const texts = Object.entries(fields).flatMap(([key, value]) => (value == null ? [] : [[key, String(value)]]));
    const body = { ...Object.fromEntries(texts), callbackUrl: redirectTo };
    const answer = await post(`${direct ? "callback" : "signin"}/${provider}?${query}`, body);
    const { failure, url } = outcome(answer, redirectTo);
    if (redirect && url) return go(url);
    if (redirect) throw new Error(`The sign-in failed: ${failure?.error}.`);
    if (direct && !failure) {
      acts++;
      const told = getSession().then((begun) => tell({ session: begun, acted: true }));
      await told.catch(failed); // it is a sign-in all the same
    }
    return { error: null, ...failure, status: answer.status, ok: !failure, url: failure ? null : url };
  }

  /** Sign out, in all tabs. Rejects where that is not sure. @param {Redirection} [wanted] */
  async function signOut({ redirect = true, callbackUrl, redirectTo = callbackUrl ?? here() } = {}) {
    const { failure, url } = outcome(await post("signout", { callbackUrl: redirectTo }), redirectTo);
    if (failure) throw new Error(`The sign-out failed: ${failure.error}.`);
    acts++;
    failures = 0;
    leaving ||= redirect;
    learn(null, Infinity);
    tell({ session, acted: true });
    settle();
    if (redirect) go(url);
    return { url };
  }

  /** Run the jwt callback with trigger="update" and this data. Rejects where it was refused. @param {unknown} [data] */
  async function update(data) {
    const answer = await post("session", { data });
    if (!answer.ok) throw new Error(`The update failed: ${answer.data?.error ?? answer.status}.`);
    acts++;
    const updated = judge(answer, true);
    settle();
    return updated;
  }

  /**
   * Be told of each different session that this page or another tab learns of.
   * @param {(session: Session | null) => void} callback @returns {() => void} stops it
   */
  function onSessionChange(callback) {
    open();
    listeners.add(callback);
    return () => void listeners.delete(callback);
  }

  /**
   * Keep the session fresh from now on. A second call replaces the first. `redirectTo`: where to go when signed out;
   * `signOutOnError`: sign out where the provider has refused for good, or at these codes of `session.error`.
   * @param {RefreshOptions} [wanted] @returns {() => void} stops it
   */
  function startSessionRefresh(wanted = {}) {
    stop();
    const own = (options = { ...wanted });
    const listening = new AbortController();
    // By capturing, the window sees the document's events, too.
    for (const type of EVENTS) page.addEventListener(type, woken, { capture: true, signal: listening.signal });
    stand();
    ring();
    stop = () => {
      listening.abort();
      if (options !== own) return;
      options = null;
      page.clearTimeout(timer);
      withdraw();
    };
    return stop;
  }

  return { getSession, getCsrfToken, getProviders, signIn, signOut, update, onSessionChange, startSessionRefresh };
}

export const { getSession, getCsrfToken, getProviders, signIn, signOut, update, onSessionChange, startSessionRefresh } =
  createClient();
