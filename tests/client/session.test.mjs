import assert from "node:assert/strict";
import { test } from "node:test";
import { BASE, Machine, quiet } from "./fakes.mjs";

const json = (content, status = 200) => new Response(JSON.stringify(content), { status });
const form = (machine) => JSON.parse(machine.server.lastInit.body);

function signedIn() {
  const machine = new Machine();
  machine.server.signIn();
  return { machine, server: machine.server, tab: machine.tab() };
}

test("getSession resolves to the session, and to null for what either dialect calls none.", async () => {
  const { server, tab } = signedIn();
  assert.equal((await tab.client.getSession()).user.name, "Ada");
  for (const none of [null, {}]) {
    server.answers["GET session"] = () => json(none);
    assert.equal(await tab.client.getSession(), null);
  }
});

test("No answer, 4xx, 5xx, HTML and other JSON are never a sign-out: getSession rejects, and no listener hears.", async () => {
  const { server, tab } = signedIn();
  await tab.client.getSession();
  const answers = [
    () => Promise.reject(new TypeError("Failed to fetch")),
    ...[401, 403, 404, 429, 500, 502, 503].map((status) => () => json(null, status)),
    () => new Response("<html>Sign in to the hotel's Wi-Fi</html>", { headers: { "content-type": "text/html" } }),
    () => new Response("", { status: 200 }),
    () => json("Bad request."),
    () => json([]),
    () => json(0),
  ];
  for (const answer of answers) {
    server.fails = answer;
    await assert.rejects(tab.client.getSession());
  }
  assert.deepEqual(tab.seen.map((session) => session.user.name), ["Ada"]);
});

test("All who ask at the same time share one request, and the next one asks anew.", async () => {
  const { server, tab } = signedIn();
  await Promise.all([1, 2, 3].map(() => tab.client.getSession()));
  assert.equal(server.count("GET session"), 1);
  await tab.client.getSession();
  assert.equal(server.count("GET session"), 2);
});

test("Equal sessions emit nothing, in this tab and in others, and each different one once.", async () => {
  const { machine, server, tab } = signedIn();
  const other = machine.tab();
  for (let turn = 0; turn < 5; turn++) await tab.client.getSession();
  await quiet();
  assert.deepEqual([tab.seen.length, other.seen.length], [1, 1]);
  server.session = { ...server.session, role: "admin" };
  for (let turn = 0; turn < 5; turn++) await tab.client.getSession();
  await quiet();
  assert.deepEqual([tab.seen.length, other.seen.length], [2, 2]);
  assert.equal(server.count("GET session"), 10); // none by the other tab
});

test("A listener that throws stops no other, and one that has unsubscribed hears nothing.", async () => {
  const { tab } = signedIn();
  const [heard, thrown] = [[], []];
  const catching = (error) => thrown.push(error.message);
  const before = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", catching);
  const unsubscribe = tab.client.onSessionChange(() => heard.push("gone"));
  tab.client.onSessionChange(() => { throw new Error("a listener's own"); });
  tab.client.onSessionChange((session) => heard.push(session.user.name));
  unsubscribe();
  unsubscribe();
  await tab.client.getSession();
  await quiet();
  process.off("uncaughtException", catching);
  before.forEach((listener) => process.on("uncaughtException", listener));
  assert.deepEqual([heard, thrown], [["Ada"], ["a listener's own"]]);
});

test("An answer that was asked for before another tab's sign-out does not bring the session back.", async () => {
  const { machine, server, tab } = signedIn();
  const other = machine.tab();
  let answer;
  server.fails = () => new Promise((resolve) => (answer = resolve));
  const reading = other.client.getSession();
  await quiet();
  server.fails = null;
  await tab.client.signOut({ redirect: false });
  await quiet();
  answer(json({ user: { name: "Ada" } }));
  assert.equal(await reading, null);
  assert.deepEqual(other.seen, [null]);
});

test("getCsrfToken and getProviders resolve to what the server answers, and reject where it does not.", async () => {
  const { server, tab } = signedIn();
  assert.equal(await tab.client.getCsrfToken(), "c0ffee");
  assert.deepEqual(Object.keys(await tab.client.getProviders()), ["credentials", "github"]);
  server.answers["GET csrf"] = server.answers["GET providers"] = () => json({}, 500);
  await assert.rejects(tab.client.getCsrfToken());
  await assert.rejects(tab.client.getProviders());
});

test("signIn with redirect: false asks as NextAuth's client does, and resolves to {error, status, ok, url}.", async () => {
  const machine = new Machine();
  const [server, tab, other] = [machine.server, machine.tab(), machine.tab()];
  server.answers["POST callback/credentials"] = (body) => {
    server.signIn();
    return json({ url: new URL(body.callbackUrl, BASE).href });
  };
  const fields = { username: "ada", password: "lovelace", remember: true, code: undefined };
  const outcome = await tab.client.signIn("credentials", { redirect: false, redirectTo: "/me?error=none", ...fields });
  assert.deepEqual(outcome, { error: null, status: 200, ok: true, url: "https://app.example/me?error=none" });
  assert.deepEqual(server.log, ["GET providers", "GET csrf", "POST callback/credentials", "GET session"]);
  await quiet();
  assert.equal(other.seen.at(-1).user.name, "Ada");
  assert.deepEqual(tab.visited, []);
});

test("The credentials go out as texts, with the CSRF token and callbackUrl, and ask for JSON.", async () => {
  const machine = new Machine();
  const [server, tab] = [machine.server, machine.tab({ at: "https://app.example/login" })];
  server.answers["POST callback/credentials"] = () => json({ url: `${BASE}error?error=Configuration` });
  await tab.client.signIn("credentials", { redirect: false, username: "ada", pin: 17, none: null });
  assert.deepEqual(form(machine), { username: "ada", pin: "17", callbackUrl: "https://app.example/login", csrfToken: "c0ffee" });
  assert.equal(server.lastInit.headers["X-Auth-Return-Redirect"], "1");
});

test("A failed sign-in is never ok, whatever its status, and leaves session and page alone.", async () => {
  const { machine, server, tab } = signedIn();
  const cases = [
    [json({ url: `${BASE}signin?error=CredentialsSignin&code=locked` }, 401), { error: "CredentialsSignin", code: "locked", status: 401 }],
    [json({ url: `${BASE}error?error=Configuration` }), { error: "Configuration", code: undefined, status: 200 }],
    [json({ url: `${BASE}signin?csrf=true` }), { error: "MissingCSRF", code: undefined, status: 200 }],
    [json({ url: `${BASE}error?error=AccessDenied` }, 403), { error: "AccessDenied", code: undefined, status: 403 }],
    [json({ error: "CrossOrigin", message: "…" }, 403), { error: "CrossOrigin", code: undefined, status: 403 }],
    [json(null, 400), { error: "Unknown", code: undefined, status: 400 }],
  ];
  for (const [answer, expected] of cases) {
    server.answers["POST callback/credentials"] = () => answer;
    const outcome = await tab.client.signIn("credentials", { redirect: false });
    assert.deepEqual(outcome, { ...expected, ok: false, url: null });
  }
  assert.equal(server.count("GET session"), 0);
  assert.deepEqual(tab.visited, []);
  server.answers["POST callback/credentials"] = () => new Response("<html>Bad gateway</html>", { status: 502 });
  await assert.rejects(tab.client.signIn("credentials", { redirect: false }));
  await machine.pass(0);
});

test("signIn goes where the answer leads, and reloads a page that it would only scroll.", async () => {
  const { server, tab } = signedIn();
  server.answers["POST callback/credentials"] = () => json({ url: "https://app.example/#top" });
  await tab.client.signIn("credentials", { username: "ada" });
  assert.deepEqual([tab.visited, tab.page.location.reloads], [["https://app.example/#top"], 1]);
  server.answers["POST callback/credentials"] = () => json({ url: "https://app.example/me#top" });
  await tab.client.signIn("credentials", { username: "ada" });
  assert.deepEqual([tab.visited.at(-1), tab.page.location.reloads], ["https://app.example/me#top", 1]);
});

test("Another provider gets its params in the query; with redirect: false the URL is handed out.", async () => {
  const { server, tab } = signedIn();
  server.answers["POST signin/github?prompt=consent"] = () => json({ url: "https://github.example/authorize?state=1" });
  await tab.client.signIn("github", {}, { prompt: "consent" });
  assert.deepEqual(tab.visited, ["https://github.example/authorize?state=1"]);
  const outcome = await tab.client.signIn("github", { redirect: false }, { prompt: "consent" });
  assert.equal(outcome.url, "https://github.example/authorize?state=1");
  assert.equal(server.count("GET session"), 0);
});

test("Without a provider that the server knows, signIn goes to the sign-in page.", async () => {
  const { tab } = signedIn();
  await tab.client.signIn();
  await tab.client.signIn("gitlab", { callbackUrl: "/me" });
  const page = (url) => `${BASE}signin?callbackUrl=${encodeURIComponent(url)}`;
  assert.deepEqual(tab.visited, [page("https://app.example/"), page("/me")]);
});

test("A sign-in whose session can't be read afterwards is a sign-in all the same.", async () => {
  const { server, tab } = signedIn();
  server.answers["POST callback/credentials"] = (body) => json({ url: body.callbackUrl });
  server.fails = () => json({}, 503);
  assert.equal((await tab.client.signIn("credentials", { redirect: false })).ok, true);
});

test("signOut ends the session in all tabs, and navigates unless told not to.", async () => {
  const { machine, server, tab } = signedIn();
  const other = machine.tab();
  await tab.client.getSession();
  assert.deepEqual(await tab.client.signOut({ redirect: false, redirectTo: "/bye" }), { url: "https://app.example/bye" });
  await quiet();
  assert.deepEqual([tab.seen.at(-1), other.seen.at(-1)], [null, null]);
  assert.deepEqual([tab.visited, server.count("GET session")], [[], 1]);
  await tab.client.signOut({ callbackUrl: "/bye" });
  assert.deepEqual(tab.visited, ["https://app.example/bye"]);
});

test("A sign-out that is not sure rejects, and the session stays.", async () => {
  const { server, tab } = signedIn();
  await tab.client.getSession();
  for (const answer of [json({ url: `${BASE}signin?error=MissingCSRF` }), json({ url: `${BASE}signout?csrf=true` }), json({}, 503), new Response("", { status: 502 })]) {
    server.answers["POST signout"] = () => answer;
    await assert.rejects(tab.client.signOut());
  }
  assert.deepEqual([tab.seen.length, tab.visited], [1, []]);
});

test("update posts the data as JSON, and its session is everybody's.", async () => {
  const { machine, server, tab } = signedIn();
  const other = machine.tab();
  server.answers["POST session"] = ({ data }) => json({ user: { name: data.name } });
  assert.equal((await tab.client.update({ name: "Grace" })).user.name, "Grace");
  assert.deepEqual(form(machine), { csrfToken: "c0ffee", data: { name: "Grace" } });
  await quiet();
  assert.equal(other.seen.at(-1).user.name, "Grace");
  server.answers["POST session"] = () => json({ error: "UpdateFailed" }, 400);
  await assert.rejects(tab.client.update({}), /UpdateFailed/);
  assert.equal(tab.seen.length, 1);
});
