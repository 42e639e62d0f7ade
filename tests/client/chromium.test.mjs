// Real tabs of a real browser against a real server: about two minutes. CHROMIUM and PYTHON say where these are.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const [SECOND, PATIENCE] = [1_000, 90_000];
let launched, browser, server, address;

before(async () => {
  server = spawn(process.env.PYTHON ?? "python3", [fileURLToPath(new URL("server.py", import.meta.url))], { stdio: ["ignore", "pipe", "inherit"] });
  address = await new Promise((resolve, reject) => {
    createInterface({ input: server.stdout }).once("line", resolve);
    server.once("exit", (code) => reject(new Error(`The server ended with ${code}.`)));
  });
  launched = await chromium.launchServer({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  browser = await chromium.connect(launched.wsEndpoint());
});

after(async () => {
  await browser?.close();
  await launched?.close();
  server?.kill();
});

const control = async (switches) =>
  (await fetch(`${address}/control`, switches && { method: "POST", body: JSON.stringify(switches) })).json();

async function until(condition, what) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
    if (await condition()) return;
  }
  assert.fail(`Waited in vain: ${what}`);
}

/** Tabs of somebody who has just signed in; what each asked for stands in `asked`. */
async function signedIn(context, number = 4) {
  await control({ reset: true, outage: null, fail_with: null, refuse_refresh: false });
  const open = async (path) => {
    const page = await context.newPage();
    page.asked = [];
    page.on("request", (request) => page.asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
    await page.goto(address + path);
    await ready(page);
    return page;
  };
  const first = await open("/login");
  const outcome = await first.evaluate(() => traces.client.signIn("credentials", { redirect: false, redirectTo: "/", username: "ada", password: "lovelace" }));
  assert.deepEqual(outcome, { error: null, status: 200, ok: true, url: `${address}/` });
  await first.close();
  const tabs = [];
  for (let tab = 0; tab < number; tab++) tabs.push(await open("/"));
  return tabs;
}

// By hand: what playwright has for it needs eval, which the pages' policy forbids.
const ready = (page) => until(() => page.evaluate(() => globalThis.traces?.seen.length > 0), "the page knows the session");
const reads = (page) => page.asked.filter((line) => line === "GET /somewhere/auth/session").length;
const newest = (page) => page.evaluate(() => traces.seen.at(-1));
const refreshed = (number) => until(async () => (await control()).refreshes >= number, `${number} refreshes`);
const agreed = (tabs) => until(async () => new Set((await Promise.all(tabs.map(newest))).map((session) => session?.refreshAt)).size === 1, "all tabs know the same");

async function withTabs(work, number) {
  const context = await browser.newContext();
  try {
    const tabs = await signedIn(context, number);
    await work(tabs, context);
    for (const tab of tabs.filter((page) => !page.isClosed())) assert.deepEqual(await tab.evaluate(() => traces.violations), []);
    assert.equal((await control()).reuses, 0);
  } finally {
    await context.close();
  }
}

// Told of it as a page is, and then stopped by the debugger: Page.setWebLifecycleState froze nothing in a browser without a window.
async function frozen(context, page, work) {
  const devtools = await context.newCDPSession(page);
  await devtools.send("Debugger.enable");
  await page.evaluate(() => document.dispatchEvent(new Event("freeze")));
  await devtools.send("Debugger.pause");
  await work();
  await devtools.send("Debugger.disable");
  await page.evaluate(() => document.dispatchEvent(new Event("resume")));
}

test("Among four tabs, each refresh takes exactly one GET session, and every tab gets the news.", () =>
  withTabs(async (tabs) => {
    await control({ reset: true });
    await refreshed(3);
    await agreed(tabs);
    const { "GET session": asked, refreshes } = await control();
    assert.equal(asked, refreshes);
    for (const tab of tabs) assert.ok((await tab.evaluate(() => traces.seen)).every((session) => session.user.name === "Ada"));
  }));

test("When the leader's tab closes, another one takes over, with one request again.", () =>
  withTabs(async (tabs) => {
    const before = tabs.map(reads);
    await control({ reset: true });
    await refreshed(1);
    await agreed(tabs);
    const leader = tabs.findIndex((tab, index) => reads(tab) > before[index]);
    const rest = tabs.filter((_, index) => index !== leader);
    await tabs[leader].close();
    await refreshed(2);
    await agreed(rest);
    const { "GET session": asked, refreshes } = await control();
    assert.equal(asked, refreshes);
  }));

test("A leader that is frozen gives its seat away, and knows the newest session once it is back.", () =>
  withTabs(async (tabs, context) => {
    const before = tabs.map(reads);
    await control({ reset: true });
    await refreshed(1);
    await agreed(tabs);
    const leader = tabs.find((tab, index) => reads(tab) > before[index]);
    const rest = tabs.filter((tab) => tab !== leader);
    const by = reads(leader);
    await frozen(context, leader, async () => {
      await refreshed(2);
      await agreed(rest);
      assert.equal(reads(leader), by);
    });
    await agreed(tabs);
    const { "GET session": asked, refreshes } = await control();
    assert.ok(asked <= refreshes + 1, `${asked} reads for ${refreshes} refreshes: one each, and one of the tab that came back`);
  }));

test("After a sleep past the expiry, all tabs at once and without any event, one request brings everybody up to date.", () =>
  withTabs(async (tabs) => {
    await control({ reset: true });
    process.kill(-launched.process().pid, "SIGSTOP"); // the whole browser
    await new Promise((resolve) => setTimeout(resolve, 16 * SECOND)); // that long: the access token lives for 10
    process.kill(-launched.process().pid, "SIGCONT");
    assert.equal((await control())["GET session"], undefined);
    await refreshed(1);
    await agreed(tabs);
    assert.equal((await control())["GET session"], 1);
    assert.ok(tabs.every((tab) => new URL(tab.url()).pathname === "/"));
  }));

test("Offline past the expiry nobody is signed out, and back online one refresh is enough.", () =>
  withTabs(async (tabs, context) => {
    await control({ reset: true });
    await context.setOffline(true);
    await until(() => tabs.some((tab) => reads(tab) > 2), "somebody asked in vain, and again");
    await new Promise((resolve) => setTimeout(resolve, 11 * SECOND));
    await context.setOffline(false);
    await refreshed(1);
    await agreed(tabs);
    assert.equal((await control()).refreshes, 1);
    for (const tab of tabs) assert.ok((await tab.evaluate(() => traces.seen)).every((session) => session !== null));
    assert.ok(tabs.every((tab) => new URL(tab.url()).pathname === "/"));
  }));

test("Neither an outage of the application (503, or HTML with 200) nor one of the token server is a sign-out.", () =>
  withTabs(async (tabs) => {
    for (const switches of [{ outage: 503 }, { outage: 200 }, { outage: null, fail_with: 503 }]) {
      await control({ ...switches, reset: true });
      for (const tab of tabs) await tab.evaluate(() => dispatchEvent(new Event("online"))); // as if it had tried long enough
      await until(async () => (await control())["GET session"] >= 2, "two requests in vain");
    }
    await control({ outage: null, fail_with: null, reset: true });
    await refreshed(1); // within a minute, the longest back-off, by itself
    await agreed(tabs);
    for (const tab of tabs) assert.ok((await tab.evaluate(() => traces.seen)).every((session) => session.user.name === "Ada"));
    assert.ok(tabs.every((tab) => new URL(tab.url()).pathname === "/"));
  }));

test("A refused refresh token ends at /login in every tab, by one sign-out.", () =>
  withTabs(async (tabs) => {
    await control({ reset: true, refuse_refresh: true });
    await Promise.all(tabs.map((tab) => tab.waitForURL(`${address}/login`, { timeout: PATIENCE })));
    assert.equal((await control())["POST signout"], 1);
    await ready(tabs[0]);
    assert.equal(await newest(tabs[0]), null);
  }));

test("A sign-out in one tab redirects the others, and a tab out of the history notices it.", () =>
  withTabs(async (tabs) => {
    const [first, second] = tabs;
    await second.goto(`${address}/static/page.js`);
    await first.evaluate(() => traces.client.signOut({ redirectTo: "/" }).catch(() => {}));
    await first.waitForURL(`${address}/login`, { timeout: PATIENCE });
    await second.goBack();
    await second.waitForURL(`${address}/login`, { timeout: PATIENCE });
  }, 2));
