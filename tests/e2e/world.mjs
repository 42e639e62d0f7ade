// A world of server.py, with Chromium in front of it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const PATIENCE = 60_000;
const NOBODY = { username: "ada", password: "wrong" };
const ADA = { username: "ada", password: "lovelace" };

let servers;
let browser;

/** One server and one browser for each file of tests. */
async function started() {
  servers ??= startServer();
  browser ??= chromium.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
  return { server: await servers, browser: await browser };
}

async function startServer() {
  const script = fileURLToPath(new URL("server.py", import.meta.url));
  const child = spawn(process.env.PYTHON ?? "python3", [script], { stdio: ["pipe", "pipe", "inherit"] });
  const address = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`The server ended with ${code}.`)));
  });
  return { child, address };
}

after(async () => {
  await (await browser)?.close();
  (await servers)?.child.stdin.end();
});

// React tells devtools of each commit, in production builds too: so an unmodified application can be counted.
function countCommits() {
  globalThis.commits = 0;
  globalThis.__REACT_DEVTOOLS_GLOBAL_HOOK__ = {
    supportsFiber: true,
    inject: () => 1,
    onCommitFiberRoot: () => globalThis.commits++,
    onCommitFiberUnmount() {},
    onPostCommitFiberRoot() {},
    checkDCE() {},
  };
}

export async function until(condition, what) {
  for (const end = Date.now() + PATIENCE; Date.now() < end; await sleep(50)) if (await condition()) return;
  assert.fail(`Waited in vain: ${what}`);
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Does the work in a new world, and asserts at its end what holds in every one: no refresh token was sent twice. */
export async function inWorld(settings, work) {
  const world = await World.made(settings);
  try {
    await work(world);
    const { reuses, sentTwice } = await world.report();
    assert.equal(reuses, 0);
    if (!world.failed) assert.deepEqual(sentTwice, []);
  } catch (error) {
    console.error(JSON.stringify(await world.report()), world.tabs.map((tab) => tab.url()));
    throw error;
  } finally {
    await world.end();
  }
}

export class World {
  static async made(settings) {
    const { server, browser } = await started();
    const made = await (await fetch(`${server.address}/worlds`, { method: "POST", body: JSON.stringify(settings) })).json();
    const context = await browser.newContext();
    const world = new World(`${server.address}/worlds/${made.id}`, made.address, context);
    await context.addInitScript(countCommits);
    if (settings.stands) {
      await context.clock.install({ time: made.now });
      await context.clock.pauseAt(made.now + 1_000);
      await world.switch({ advance: 1 });
    }
    return world;
  }

  constructor(control, address, context) {
    this.control = control;
    this.address = address;
    this.context = context;
    this.tabs = [];
    this.failed = false; // whether the token server did: then a token that it has not taken is sent again
    this.underWay = new Set();
    context.on("request", (request) => this.underWay.add(request));
    for (const end of ["requestfinished", "requestfailed"]) context.on(end, (request) => this.underWay.delete(request));
  }

  async report() {
    return (await fetch(this.control)).json();
  }

  async switch(switches) {
    this.failed ||= switches.fail_with !== undefined || switches.refuse_refresh !== undefined;
    return (await fetch(this.control, { method: "POST", body: JSON.stringify(switches) })).json();
  }

  async reads() {
    return (await this.report()).requests["GET /api/auth/session"] ?? 0;
  }

  /** A new tab, on a page of the application, as soon as it knows whether somebody is signed in. */
  async open(path = "/") {
    const tab = await this.context.newPage();
    tab.problems = [];
    tab.on("pageerror", (error) => tab.problems.push(String(error)));
    await tab.goto(this.address + path);
    await tab.waitForSelector("h1", { timeout: PATIENCE });
    this.tabs.push(tab);
    return tab;
  }

  /** A tab of somebody who has typed name and password. */
  async signIn({ right = true } = {}) {
    const tab = await this.open("/login");
    await this.fillIn(tab, right);
    if (right) await tab.getByRole("button", { name: "Sign out" }).waitFor({ timeout: PATIENCE });
    return tab;
  }

  async fillIn(tab, right) {
    const { username, password } = right ? ADA : NOBODY;
    await tab.fill("[name=username]", username);
    await tab.fill("[name=password]", password);
    await tab.getByRole("button", { name: "Sign in" }).click();
  }

  /** So many tabs of one person. */
  async signedIn(number) {
    await this.signIn();
    while (this.tabs.length < number) await this.open();
    await this.quiet();
    return this.tabs;
  }

  /** All that was asked is answered. */
  async quiet() {
    let calm = 0;
    await until(() => (calm = this.underWay.size ? 0 : calm + 1) > 4, "an end of all requests");
  }

  /** Time passes, on both sides, with all timers that ring in it. */
  async pass(seconds, { step = 1 } = {}) {
    for (let passed = 0; passed < seconds; passed += step) {
      await this.switch({ advance: step });
      await this.context.clock.runFor(step * 1_000);
      for (let turn = 0; turn < 3 || this.underWay.size; turn++) await sleep(2);
    }
  }

  /** The lid is closed for so long: no timer rings, and all of them do at its end, once. */
  async sleepWithLidClosed(seconds) {
    await this.switch({ advance: seconds });
    await this.context.clock.fastForward(seconds * 1_000);
    await this.quiet();
  }

  /** All of Chromium's processes are stopped for so long, as under a closed lid. The report of the moment before they go on. */
  async standStill(milliseconds) {
    const link = await (await started()).browser.newBrowserCDPSession();
    const pids = (await link.send("SystemInfo.getProcessInfo")).processInfo.map(({ id }) => id);
    const all = (signal) => pids.forEach((pid) => process.kill(pid, signal));
    all("SIGSTOP");
    try {
      await sleep(milliseconds);
      return await this.report();
    } finally {
      all("SIGCONT");
      await link.detach();
    }
  }

  assertSignedIn() {
    for (const tab of this.tabs) {
      assert.equal(new URL(tab.url()).pathname, "/");
      assert.deepEqual(tab.problems, []);
    }
  }

  async end() {
    await this.context.close();
    await fetch(this.control, { method: "DELETE" });
  }
}

/** What a tab shows as the session's error. */
export const errorIn = (tab) => tab.locator("#error").textContent({ timeout: PATIENCE });

/** When the access token ends that a tab knows of. */
export const expiryIn = (tab) => tab.locator("dd").first().textContent({ timeout: PATIENCE });
