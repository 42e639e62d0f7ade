import assert from "node:assert/strict";
import { test } from "node:test";
import { Machine, quiet } from "./fakes.mjs";

const [SECOND, MINUTE, HOUR, DAY] = [1_000, 60_000, 3_600_000, 86_400_000];
const ERRORS = ["RefreshAccessTokenError", "RefreshTokenError"];

async function started({ tabs = 1, options = {}, latency = 0, prepare = () => {}, ...more } = {}) {
  const machine = new Machine(more);
  machine.server.signIn();
  prepare(machine.server);
  const made = Array.from({ length: tabs }, () => machine.tab());
  const stops = [];
  for (const tab of made) {
    stops.push(tab.client.startSessionRefresh(options));
    await quiet();
  }
  machine.server.log.length = 0;
  machine.latency = latency;
  return { machine, server: machine.server, tabs: made, tab: made[0], stops };
}

test("One timer aims at refreshAt: nothing is asked before, and one request comes within 3 s after it.", async () => {
  const { machine, server } = await started();
  await machine.pass(4 * MINUTE - SECOND);
  assert.equal(server.count("GET session"), 0);
  await machine.pass(4 * SECOND);
  assert.equal(server.count("GET session"), 1);
  await machine.pass(40 * MINUTE);
  assert.equal(server.count("GET session"), 11);
});

for (const ahead of [-3 * HOUR, -40 * SECOND, 40 * SECOND, 3 * HOUR]) {
  test(`A browser's clock that differs from the server's by ${-ahead / SECOND} s changes nothing.`, async () => {
    const { machine, server } = await started({ prepare: (it) => { it.ahead = ahead; it.signIn(); } });
    await machine.pass(4 * MINUTE - SECOND);
    assert.equal(server.count("GET session"), 0);
    await machine.pass(4 * SECOND);
    assert.equal(server.count("GET session"), 1);
  });
}

test("Without a Date header a wrong clock costs a request a minute at most, and no more.", async () => {
  const { machine, server } = await started({ prepare: (it) => { it.date = false; it.ahead = -3 * HOUR; it.signIn(); } });
  await machine.pass(HOUR);
  assert.ok(server.count("GET session") <= 90, String(server.count("GET session")));
});

test("A wall clock that is set back does not put the refresh off, one set forward only hastens it.", async () => {
  for (const by of [-DAY, DAY]) {
    const { machine, server } = await started();
    await machine.pass(2 * MINUTE);
    machine.now += by;
    machine.server.ahead -= by;
    await machine.pass(3 * MINUTE);
    assert.ok([1, 2].includes(server.count("GET session")));
  }
});

test("A session whose access token lives for 60 days is asked for then, and not at once (2³¹ ms).", async () => {
  const { machine, server, tab } = await started({ prepare: (it) => { it.lifetime = 60 * DAY; it.signIn(); } });
  await machine.pass(59 * DAY);
  assert.equal(server.count("GET session"), 0);
  assert.ok(Math.max(...tab.delays) < 2 ** 31);
  await machine.pass(DAY);
  assert.equal(server.count("GET session"), 1);
});

test("Where the access token's expiry is not known, the session's own end is aimed at.", async () => {
  const { machine, server, tab } = await started({ options: { redirectTo: "/login" }, prepare: (it) => (it.due = Infinity) });
  await machine.pass(29 * DAY);
  assert.equal(server.count("GET session"), 0);
  server.session = null;
  await machine.pass(2 * DAY);
  assert.deepEqual(tab.visited, ["https://app.example/login"]);
});

for (const latency of [0, 300, 9 * SECOND]) {
  test(`Four tabs, answers that take ${latency} ms: one GET session per refresh, and each emits each session once.`, async () => {
    const { machine, server, tabs } = await started({ tabs: 4, latency, random: Math.random });
    await machine.pass(20 * MINUTE + 50 * SECOND);
    assert.equal(server.count("GET session"), 5);
    assert.deepEqual(tabs.map((tab) => tab.seen.length), [6, 6, 6, 6]);
  });
}

test("A tab that opens and asks in vain does not make the others ask.", async () => {
  const { machine, server, tabs } = await started({ tabs: 2 });
  server.fails = () => new Response("", { status: 503 });
  const fresh = machine.tab();
  fresh.client.startSessionRefresh();
  await machine.pass(2 * MINUTE);
  assert.ok(fresh.asked > 3);
  assert.deepEqual(tabs.map((tab) => tab.asked), [1, 1]);
});

test("When the leader closes, another one leads, and nothing is asked twice.", async () => {
  const { machine, server, tabs } = await started({ tabs: 4 });
  const leaders = [];
  for (let turn = 0; turn < 4; turn++) {
    const leader = tabs.find((tab) => tab.leads);
    leaders.push(leader);
    leader.close();
    await quiet();
    const before = server.count("GET session");
    await machine.pass(4 * MINUTE + 10 * SECOND);
    assert.equal(server.count("GET session") - before, turn < 3 ? 1 : 0);
  }
  assert.equal(new Set(leaders).size, 4);
});

test("A leader that is frozen gives its seat away before, and one that was frozen without a warning is replaced in time.", async () => {
  const { machine, server, tabs } = await started({ tabs: 3, random: Math.random });
  const first = tabs.find((tab) => tab.leads);
  first.fire("freeze");
  first.frozen = true;
  await quiet();
  const second = tabs.find((tab) => tab.leads);
  assert.notEqual(second, first);
  second.frozen = true;
  await machine.pass(4 * MINUTE + 7 * SECOND);
  assert.equal(server.count("GET session"), 1);
  first.frozen = false;
  first.fire("resume");
  await machine.pass(4 * MINUTE + 5 * SECOND);
  assert.equal(server.count("GET session"), 2);
});

test("Without Web Locks the first tab to ask tells the others: seldom more than one request.", async () => {
  const { machine, server, tabs } = await started({ tabs: 4, locks: false, latency: 20, random: Math.random });
  await machine.pass(20 * MINUTE + 40 * SECOND);
  assert.ok([5, 6].includes(server.count("GET session")), String(server.count("GET session")));
  assert.ok(tabs.every((tab) => tab.seen.length === 6));
});

test("Hidden tabs leave a minute to a leader whose timers ring once a minute.", async () => {
  const { machine, server, tabs } = await started({ tabs: 2, random: () => 0 });
  const [leader] = [tabs.find((tab) => tab.leads)];
  tabs.forEach((tab) => tab.show(false));
  await machine.pass(3 * MINUTE + 50 * SECOND);
  leader.frozen = true;
  await machine.pass(50 * SECOND);
  leader.frozen = false;
  await machine.pass(0);
  assert.deepEqual([server.count("GET session"), leader.asked], [1, 2]);
});

test("A laptop that slept past the expiry catches up within a minute by itself, and at once when its page is shown.", async () => {
  const { machine, server, tabs } = await started({ tabs: 4, latency: 300 });
  machine.sleep(8 * HOUR);
  await machine.pass(MINUTE + 2 * SECOND);
  assert.equal(server.count("GET session"), 1);
  machine.sleep(8 * HOUR);
  tabs.forEach((tab) => tab.fire("visibilitychange"));
  await machine.pass(1300);
  assert.equal(server.count("GET session"), 2);
});

test("Catching up has jitter: not all clients come back at the same moment.", async () => {
  const moments = [];
  for (const random of [0.1, 0.9]) {
    const { machine, server, tab } = await started({ random: () => random });
    machine.sleep(HOUR);
    tab.fire("online");
    const woke = machine.now;
    while (server.count("GET session") === 0) await machine.pass(20);
    moments.push(machine.now - woke);
  }
  assert.ok(moments[1] - moments[0] > 500, String(moments));
});

test("Offline, 5xx or HTML: nothing is emitted, nobody is redirected, and it is tried again with back-off.", async () => {
  for (const fails of [null, () => new Response("", { status: 503 }), () => new Response("<html>", { status: 200 })]) {
    const { machine, server, tab } = await started({ options: { redirectTo: "/login", signOutOnError: true } });
    machine.online = fails !== null;
    server.fails = fails;
    await machine.pass(HOUR);
    const during = server.count("GET session");
    assert.ok(fails === null || (during > 30 && during < 100), String(during));
    assert.deepEqual([tab.seen.length, tab.visited], [1, []]);
    [machine.online, server.fails] = [true, null];
    tab.fire("online");
    await machine.pass(6 * SECOND);
    assert.equal(server.count("GET session"), during + 1);
    assert.equal(tab.seen.length, 2);
  }
});

test("What one tab asked for in vain, the others do not ask for at the same time.", async () => {
  const { machine, server } = await started({ tabs: 4, random: Math.random });
  server.fails = () => new Response("", { status: 503 });
  await machine.pass(HOUR);
  assert.ok(server.count("GET session") < 100, String(server.count("GET session")));
});

test("A first read that fails is tried again, and tells nobody that he is signed out.", async () => {
  const { machine, tab, server } = await started({ options: { redirectTo: "/login" }, prepare: (it) => (it.fails = () => new Response("", { status: 502 })) });
  assert.deepEqual([tab.seen, tab.visited], [[], []]);
  server.fails = null;
  await machine.pass(5 * SECOND);
  assert.equal(tab.seen[0].user.name, "Ada");
});

test("While the refresh is under way elsewhere, or its provider is down, refreshAt is past: asked again with back-off.", async () => {
  const { machine, server } = await started({ prepare: (it) => (it.rotates = false) });
  await machine.pass(4 * MINUTE + 10 * SECOND);
  assert.ok(server.count("GET session") >= 2);
  const before = server.count("GET session");
  await machine.pass(HOUR);
  assert.ok(server.count("GET session") - before < 90);
  server.rotates = true;
  await machine.pass(2 * MINUTE);
  server.log.length = 0;
  await machine.pass(4 * MINUTE);
  assert.equal(server.count("GET session"), 1);
});

for (const error of ERRORS) {
  test(`${error} is terminal: signed out once among all tabs if asked to, and every tab is redirected.`, async () => {
    const { machine, server, tabs } = await started({ tabs: 4, latency: 4 * SECOND, options: { redirectTo: "/login", signOutOnError: true } });
    Object.assign(server.session, { error });
    await machine.pass(4 * MINUTE + 8 * SECOND);
    tabs.forEach((tab) => tab.fire("visibilitychange"));
    await machine.pass(10 * SECOND);
    assert.equal(server.count("POST signout"), 1);
    assert.deepEqual(tabs.map((tab) => tab.visited), Array(4).fill(["https://app.example/login"]));
    assert.deepEqual(tabs.map((tab) => tab.seen.at(-1)), [null, null, null, null]);
  });
}

test("A terminal error is only shown where nobody asked to be signed out, and is not asked about again.", async () => {
  const { machine, server, tab } = await started({ options: { redirectTo: "/login" } });
  server.session = { ...server.session, error: "RefreshAccessTokenError" };
  await machine.pass(HOUR);
  assert.deepEqual([server.count("GET session"), server.count("POST signout"), tab.visited], [1, 0, []]);
  assert.equal(tab.seen.at(-1).error, "RefreshAccessTokenError");
});

test("Codes of one's own sign out too, passing errors never do.", async () => {
  const { machine, server } = await started({ options: { signOutOnError: ["Blocked"] } });
  for (const error of ["RefreshUnavailable", "RefreshMisconfigured", "RefreshAccessTokenError"]) {
    server.session = { ...server.session, error };
    await machine.pass(5 * MINUTE);
    assert.equal(server.count("POST signout"), 0);
  }
  const other = await started({ options: { signOutOnError: ["Blocked"] } });
  other.server.session = { ...other.server.session, error: "Blocked" };
  await other.machine.pass(5 * MINUTE);
  assert.equal(other.server.count("POST signout"), 1);
});

test("A sign-out at the terminal error that fails is tried again.", async () => {
  const { machine, server, tab } = await started({ options: { signOutOnError: true } });
  server.session = { ...server.session, error: "RefreshTokenError" };
  server.answers["POST signout"] = () => new Response("", { status: 503 });
  await machine.pass(5 * MINUTE);
  assert.ok(server.count("POST signout") > 1);
  delete server.answers["POST signout"];
  await machine.pass(2 * MINUTE);
  assert.equal(tab.seen.at(-1), null);
});

test("Signed out at the start, or by another tab, one is redirected once, and not from the page itself.", async () => {
  const machine = new Machine();
  const [page, login, spa] = [machine.tab(), machine.tab({ at: "https://app.example/login?error=x" }), machine.tab({ at: "https://app.example/#/login" })];
  page.client.startSessionRefresh({ redirectTo: "/login" });
  login.client.startSessionRefresh({ redirectTo: "/login" });
  spa.client.startSessionRefresh({ redirectTo: "#/login" });
  await machine.pass(HOUR);
  page.fire("visibilitychange");
  await machine.pass(HOUR);
  assert.deepEqual([page.visited, login.visited, spa.visited], [["https://app.example/login"], [], []]);
  const home = machine.tab({ at: "https://app.example/#/home" });
  home.client.startSessionRefresh({ redirectTo: "#/login" });
  await quiet();
  assert.deepEqual(home.visited, ["https://app.example/#/login"]);
});

test("Signed out again, or back from the history, one is redirected again.", async () => {
  const { machine, server, tab } = await started({ options: { redirectTo: "/login" } });
  for (let turn = 1; turn < 3; turn++) {
    server.session = null;
    await tab.client.getSession();
    assert.equal(tab.visited.length, turn);
    server.signIn();
    await tab.client.getSession();
  }
  server.session = null;
  await tab.client.getSession();
  await machine.pass(10 * SECOND);
  tab.fire("pageshow", { persisted: true });
  await machine.pass(4 * SECOND);
  assert.equal(tab.visited.length, 4);
});

test("signOut goes where it was told to, while the other tabs go to redirectTo.", async () => {
  const { tabs } = await started({ tabs: 2, options: { redirectTo: "/login" } });
  await tabs[0].client.signOut({ redirectTo: "/bye" });
  await quiet();
  assert.deepEqual(tabs.map((tab) => tab.visited), [["https://app.example/bye"], ["https://app.example/login"]]);
});

test("A tab that is signed out notices a sign-in when it is shown, and asks at most once in five seconds.", async () => {
  const machine = new Machine();
  const tab = machine.tab();
  tab.client.startSessionRefresh();
  await machine.pass(HOUR);
  assert.equal(machine.server.count("GET session"), 1);
  machine.server.signIn();
  for (let turn = 0; turn < 10; turn++) tab.fire("visibilitychange");
  await machine.pass(4 * SECOND);
  for (let turn = 0; turn < 10; turn++) tab.show(turn % 2 === 1);
  await machine.pass(SECOND);
  assert.equal(machine.server.count("GET session"), 2);
  assert.equal(tab.seen.at(-1).user.name, "Ada");

  machine.server.session = null;
  await tab.client.getSession();
  for (let turn = 0; turn < 40; turn++) {
    tab.fire("visibilitychange");
    await machine.pass(SECOND / 2);
  }
  assert.ok(machine.server.count("GET session") <= 7, String(machine.server.count("GET session")));
});

test("A page that comes out of the history asks at once.", async () => {
  const { machine, server, tab } = await started({ options: { redirectTo: "/login" } });
  tab.fire("pagehide", { persisted: true });
  await quiet();
  assert.equal(tab.leads, false);
  server.session = null;
  await machine.pass(10 * SECOND);
  tab.fire("pageshow", { persisted: true });
  await machine.pass(4 * SECOND);
  assert.deepEqual(tab.visited, ["https://app.example/login"]);
});

test("After stop nothing is asked, the seat is free, and stopping and starting at once costs no request.", async () => {
  const { machine, server, tabs, stops } = await started({ tabs: 2 });
  const leader = tabs.findIndex((tab) => tab.leads);
  stops[leader]();
  stops[leader]();
  await quiet();
  assert.equal(tabs[1 - leader].leads, true);
  stops[1 - leader]();
  tabs.forEach((tab) => tab.fire("visibilitychange"));
  await machine.pass(HOUR);
  assert.deepEqual([server.count("GET session"), machine.timers.size, machine.holders.length], [0, 0, 0]);

  const stop = tabs[0].client.startSessionRefresh();
  stop();
  await quiet();
  assert.equal(machine.holders.length, 0);
  server.log.length = 0;
  tabs[0].client.startSessionRefresh()();
  tabs[0].client.startSessionRefresh();
  stop();
  await machine.pass(MINUTE);
  assert.equal(server.count("GET session"), 1);
  await machine.pass(4 * MINUTE);
  assert.equal(server.count("GET session"), 2);
});

test("A follower that stops waits no longer for the seat.", async () => {
  const { machine, tabs, stops } = await started({ tabs: 2 });
  stops[tabs.findIndex((tab) => !tab.leads)]();
  await quiet();
  assert.equal(machine.holders.length, 1);
});

test("A second start replaces the first one's options.", async () => {
  const { server, tab, stops } = await started({ options: { redirectTo: "/first" } });
  tab.client.startSessionRefresh({ redirectTo: "/second" });
  stops[0](); // of the first: it has nothing left to stop
  await quiet();
  server.session = null;
  await tab.client.getSession();
  assert.deepEqual([tab.visited, tab.events.get("online").size], [["https://app.example/second"], 1]);
});
