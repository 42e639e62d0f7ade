// The page of the examples. It sees what any page sees: the session. The tokens stay in the encrypted, HttpOnly cookie.

import { getSession, onSessionChange, signIn, signOut } from "/api/auth/client.js";

import { drawTimeLine } from "./timeline.js";

const element = (id) => document.getElementById(id);
const BURST = 50;
const NEXT_TRY = 2000; // milliseconds between two visits while the back end can't answer
const REFUSED = "RefreshAccessTokenError"; // the only error that needs a new sign-in
const KINDS = {
  sign_in: "signed in", sign_out: "signed out", refreshed: "rotated", grace: "grace", refresh_failed: "failed",
  refused: "refused", session_ended: "ended", stale_cookie: "stale cookie", control: "back end", log: "warning",
  websocket: "WebSocket",
};

const state = {
  session: null,
  lives: remembered(), // of the access tokens, oldest first
  failures: [], // milliseconds since the epoch
  lastNote: 0,
  lastVisit: 0,
  visiting: false,
  waitsForBurst: false,
};

// --- The session ----------------------------------------------------------------------------------------------------

async function visit() {
  if (state.visiting) return;
  state.visiting = true;
  state.lastVisit = Date.now();
  try {
    show(await getSession());
    notice("");
  } catch (error) {
    notice(`No answer from the application; that is not a sign-out. ${error.message}`);
  } finally {
    state.visiting = false;
  }
}

function show(session) {
  state.session = session?.user ? session : null;
  element("sign-in").hidden = state.session !== null && state.session.error !== REFUSED;
  element("signed-in").hidden = state.session === null;
  element("session").textContent = JSON.stringify(state.session, null, 2);
  const who = element("who");
  who.textContent = state.session ? `${state.session.user.name}${state.session.error ? `: ${state.session.error}` : ""}` : "not signed in";
  who.classList.toggle("error", Boolean(state.session?.error));
  for (const button of document.querySelectorAll(".burst")) button.disabled = state.session === null || state.waitsForBurst;
  remember();
  draw();
}

function notice(text) {
  element("notice").textContent = text;
  element("notice").hidden = text === "";
}

function remember() {
  if (!state.session) {
    state.lives = [];
    state.failures = [];
  } else {
    const { generation, accessTokenIssued, refreshAt, accessTokenExpires } = state.session;
    const [issued, due, expires] = [accessTokenIssued, refreshAt, accessTokenExpires].map((text) => Date.parse(text));
    if (Number.isNaN(expires)) return;
    const earlier = state.lives.filter((life) => life.generation < generation && life.issued < issued);
    const margin = Number.isNaN(due) ? expires : Math.min(due, expires);
    state.lives = [...earlier.slice(-8), { generation, issued, refreshAt: margin, expires }];
  }
  sessionStorage.setItem("lives", JSON.stringify(state.lives));
}

function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem("lives")) ?? [];
  } catch {
    return [];
  }
}

// --- Signing in and out -----------------------------------------------------------------------------------------------

async function enter(event) {
  event.preventDefault();
  const { error } = await signIn("credentials", { redirect: false, ...Object.fromEntries(new FormData(event.target)) });
  await visit();
  if (error) notice(error === "CredentialsSignin" ? "Wrong user name or password." : `The sign-in failed: ${error}.`);
}

async function leave() {
  await signOut({ redirect: false });
  await visit();
}

// --- Fifty requests at once -------------------------------------------------------------------------------------------

async function burst(when) {
  const result = element("burst-result");
  const life = state.lives.at(-1);
  state.waitsForBurst = true;
  show(state.session);
  try {
    const at = { now: 0, margin: life?.refreshAt ?? 0, expiry: life?.expires ?? 0 }[when] + 300;
    while (Date.now() < at) {
      result.textContent = `Nobody visits for ${Math.ceil((at - Date.now()) / 1000)} s, then 50 requests come at once …`;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
    result.textContent = "Under way …";
    result.textContent = await runBurst();
  } catch (error) {
    result.textContent = `The burst failed: ${error.message}`;
  }
  state.waitsForBurst = false;
  await visit();
}

async function runBurst() {
  const before = await backEnd();
  const started = performance.now();
  const statuses = await Promise.all(
    Array.from({ length: BURST }, () => fetch("/api/profile", { cache: "no-store" }).then((response) => response.status)),
  );
  const took = Math.round(performance.now() - started);
  const after = await backEnd();
  const counts = [...new Set(statuses)].map((status) => `${statuses.filter((other) => other === status).length} × ${status}`);
  const calls = after.refreshCalls - before.refreshCalls;
  const reuses = after.reuses - before.reuses;
  return `${statuses.length} answers (${counts.join(", ")}) in ${took} ms. The back end saw ${calls} refresh `
    + `${calls === 1 ? "call" : "calls"}, and ${reuses === 0 ? "no refresh token" : reuses} twice.`;
}

async function sayHello() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/hello`);
  socket.onmessage = (event) => append({ at: Date.now() / 1000, kind: "websocket", text: `the WebSocket says: hello, ${JSON.parse(event.data).hello}` });
  socket.onclose = visit;
}

// --- The back end and the log -----------------------------------------------------------------------------------------

async function backEnd(mood) {
  const options = mood ? { method: "POST", body: JSON.stringify({ mood }) } : { cache: "no-store" };
  const counters = await (await fetch("/demo/back-end", options)).json();
  element("refresh-calls").textContent = counters.refreshCalls;
  element("rotations").textContent = counters.rotations;
  element("reuses").textContent = counters.reuses;
  for (const radio of document.querySelectorAll("[name=mood]")) radio.checked = radio.value === counters.mood;
  return counters;
}

async function readLog() {
  const { framework, notes } = await (await fetch(`/demo/log?after=${state.lastNote}`, { cache: "no-store" })).json();
  element("framework").textContent = framework;
  const firstTime = state.lastNote === 0;
  for (const note of notes) {
    state.lastNote = note.id;
    if (note.kind === "refresh_failed" || note.kind === "refused") state.failures = [...state.failures.slice(-20), note.at * 1000];
    append(note);
  }
  // Others may have rotated the session, such as a second tab: what it is now costs nothing to ask.
  if (!firstTime && notes.some((note) => note.kind === "refreshed") && visitsAllowed()) await visit();
}

function append(note) {
  const row = document.createElement("li");
  row.className = note.kind;
  const time = document.createElement("time");
  time.textContent = new Date(note.at * 1000).toLocaleTimeString("en-GB");
  const kind = document.createElement("span");
  kind.className = "kind";
  kind.textContent = KINDS[note.kind] ?? note.kind;
  const text = document.createElement("span");
  text.className = "text";
  text.textContent = note.text;
  row.append(time, kind, text);
  element("log").prepend(row);
  element("log-empty").hidden = true;
}

// --- As time goes by --------------------------------------------------------------------------------------------------

function draw() {
  const now = Date.now();
  const life = state.lives.at(-1);
  const seconds = (time) => Math.max(Math.ceil((time - now) / 1000), 0);
  const sentence = !life ? "Nobody is signed in."
    : now < life.refreshAt ? `Generation ${life.generation}: good for ${seconds(life.expires)} s, the margin begins in ${seconds(life.refreshAt)} s.`
    : now < life.expires ? `Generation ${life.generation}: good for ${seconds(life.expires)} s, inside the margin: the next request refreshes it.`
    : `Generation ${life.generation}: expired ${Math.floor((now - life.expires) / 1000)} s ago; ${afterExpiry()}.`;
  element("countdown").textContent = sentence;
  drawTimeLine(element("time-line"), { lives: state.lives, failures: state.failures, now });
}

function afterExpiry() {
  const error = state.session?.error;
  if (error === REFUSED) return "the back end refuses to refresh it, so sign in again";
  return error ? `the session stays (${error}), and the back end is asked again after the back-off` : "the next request refreshes it first";
}

function visitsAllowed() {
  return element("visits").checked && !state.waitsForBurst;
}

async function look() {
  const life = state.lives.at(-1);
  const due = life && Date.now() >= life.refreshAt + 200 && Date.now() >= state.lastVisit + NEXT_TRY;
  if (due && visitsAllowed()) visit();
  try {
    await Promise.all([readLog(), backEnd()]);
  } catch {
    // Asked again in a second; visit() tells the person when the application is away.
  }
  setTimeout(look, 1000); // only now, so that no two looks overlap and show a note twice
}

element("sign-in").addEventListener("submit", enter);
element("sign-out").addEventListener("click", leave);
element("visit").addEventListener("click", visit);
element("hello").addEventListener("click", sayHello);
for (const button of document.querySelectorAll(".burst")) button.addEventListener("click", () => burst(button.dataset.when));
for (const radio of document.querySelectorAll("[name=mood]")) radio.addEventListener("change", () => backEnd(radio.value));
window.addEventListener("resize", draw);
onSessionChange(show); // another tab signed in or out

await visit();
setInterval(draw, 500);
look();
