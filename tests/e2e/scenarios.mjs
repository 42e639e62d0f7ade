// What a person with the React example and next-auth's unmodified client goes through, in either version.
import assert from "node:assert/strict";
import { test } from "node:test";
import { errorIn, expiryIn, inWorld, PATIENCE, until } from "./world.mjs";

const MINUTE = 60;
const HOUR = 60 * MINUTE;

export function scenarios({ dialect, cookie }) {
  const usual = { dialect, lifetime: 5 * MINUTE, stands: true };
  const scenario = (requirement, settings, work) => test(`${dialect}: ${requirement}`, () => inWorld({ ...usual, ...settings }, work));

  scenario("A wrong password is said so, the right one leads home, and a sign-out to /login in every tab.", {}, async (world) => {
    const tab = await world.signIn({ right: false });
    await tab.getByText("Wrong user name or password.").waitFor({ timeout: PATIENCE });
    assert.deepEqual((await world.context.cookies()).filter(({ name }) => name === cookie), []);
    await world.fillIn(tab, true);
    await tab.getByText("Hello Ada").waitFor({ timeout: PATIENCE });
    assert.equal(new URL(tab.url()).pathname, "/");
    const other = await world.open("/login");
    await other.waitForURL(`${world.address}/`, { timeout: PATIENCE });
    await tab.getByRole("button", { name: "Sign out" }).click();
    for (const page of [tab, other]) {
      await page.waitForURL(`${world.address}/login`, { timeout: PATIENCE });
      await page.getByRole("button", { name: "Sign in" }).waitFor({ timeout: PATIENCE });
    }
    assert.deepEqual((await world.context.cookies()).filter(({ name }) => name === cookie), []);
    assert.deepEqual((await world.report()).notes, ["sign_in", "sign_out"]);
  });

  scenario("JavaScript sees neither the cookie nor a token.", {}, async (world) => {
    const tab = await world.signIn();
    const seen = await tab.evaluate(async () => ({
      cookies: document.cookie,
      stored: Object.values(localStorage).join(),
      session: await (await fetch("/api/auth/session")).json(),
    }));
    assert.equal(seen.cookies, "");
    assert.deepEqual(Object.keys(seen.session).sort(), ["accessTokenExpires", "expires", "refreshAt", "user"]);
    assert.deepEqual(Object.keys(seen.session.user).sort(), ["email", "name"]);
    assert.doesNotMatch(seen.stored, /ada/i);
  });

  scenario("A mount takes at most 2 GET session, and after it nothing is read or rendered in a loop.", {}, async (world) => {
    const tab = await world.signIn();
    await world.quiet();
    for (const path of ["/", "/login"]) {
      await world.switch({ reset: true });
      await tab.goto(world.address + path);
      await tab.getByText("Hello Ada").waitFor({ timeout: PATIENCE });
      await world.quiet();
      const reads = await world.reads();
      assert.ok(reads >= 1 && reads <= 2, `${reads} GET session`);
    }
    await world.pass(30, { step: 5 });
    const [reads, commits] = [await world.reads(), await tab.evaluate("commits")];
    assert.ok(commits >= 1 && commits <= 10, `${commits} commits of React`);
    await world.pass(2 * MINUTE, { step: 10 });
    assert.deepEqual([await world.reads(), await tab.evaluate("commits")], [reads, commits]);
  });

  scenario("Each refresh costs one tab at most 2 GET session, and few renderings.", {}, async (world) => {
    const tab = await world.signIn();
    await world.quiet();
    await world.switch({ reset: true });
    const before = await tab.evaluate("commits");
    await world.pass(HOUR, { step: 15 });
    const { refreshes } = await world.report();
    assert.ok(refreshes >= 12 && refreshes <= 15, `${refreshes} refreshes in an hour`);
    assert.ok((await world.reads()) <= 2 * refreshes + 2, `${await world.reads()} GET session`);
    assert.ok((await tab.evaluate("commits")) - before <= 6 * refreshes, "a render loop");
    world.assertSignedIn();
  });

  scenario("6 tabs with 8 parallel calls each and an expired token: one refresh, 48 good answers.", { latency: 0.2 }, async (world) => {
    const tabs = await world.signedIn(6);
    await world.switch({ advance: 5 * MINUTE + 1, reset: true });
    await Promise.all(tabs.map((tab) => tab.getByRole("button", { name: "Call it 8 times at once" }).click()));
    for (const tab of tabs) await tab.getByText("8 of 8 answers are good").waitFor({ timeout: PATIENCE });
    const { requests, refreshes } = await world.report();
    assert.deepEqual([requests["GET /api/profile"], refreshes], [48, 1]);
    world.assertSignedIn();
  });

  scenario("A burst of 60 calls and session reads together, with an expired token, costs one refresh.", { latency: 0.2 }, async (world) => {
    const tab = await world.signIn();
    await world.switch({ advance: 5 * MINUTE + 1, reset: true });
    const statuses = await tab.evaluate(() => {
      const paths = Array.from({ length: 60 }, (_, index) => (index % 3 ? "/api/profile" : "/api/auth/session"));
      return Promise.all(paths.map(async (path) => (await fetch(path)).status));
    });
    assert.deepEqual([...new Set(statuses)], [200]);
    assert.equal((await world.report()).refreshes, 1);
  });

  scenario("After a night with the lid closed all tabs ask at once: one refresh, and nobody is signed out.", { latency: 0.1 }, async (world) => {
    const tabs = await world.signedIn(4);
    await world.switch({ reset: true });
    await world.sleepWithLidClosed(8 * HOUR);
    await until(async () => new Set(await Promise.all(tabs.map(expiryIn))).size === 1, "all tabs know the same");
    assert.equal((await world.report()).refreshes, 1);
    assert.ok(Date.parse(await expiryIn(tabs[0])) > (await world.report()).now);
    world.assertSignedIn();
  });

  scenario("A Chromium that stood still past the expiry goes on, with one refresh for all tabs.", { stands: false, lifetime: 10 }, async (world) => {
    const tabs = await world.signedIn(3);
    const woken = await world.standStill(11_000);
    await until(async () => (await Promise.all(tabs.map(expiryIn))).every((expiry) => Date.parse(expiry) > woken.now), "newer tokens in all tabs");
    const { refreshes, now } = await world.report();
    const due = 1 + Math.floor((now - woken.now) / 8_000); // with tokens that are due after 8 seconds
    assert.ok(refreshes - woken.refreshes <= due, `${refreshes - woken.refreshes} refreshes, where ${due} were due`);
    world.assertSignedIn();
  });

  scenario("Offline past the expiry nobody is signed out, and back online the session goes on.", {}, async (world) => {
    const tabs = await world.signedIn(3);
    await world.context.setOffline(true);
    await world.switch({ reset: true });
    await world.pass(10 * MINUTE, { step: 10 });
    assert.deepEqual((await world.report()).requests, {});
    world.assertSignedIn();
    await world.context.setOffline(false);
    await world.pass(5 * MINUTE, { step: 10 });
    const { now } = await world.report();
    for (const tab of tabs) assert.ok(Date.parse(await expiryIn(tab)) > now);
    world.assertSignedIn();
  });

  scenario("Answers that do not come, or are 502, are no sign-out: the page waits, and goes on.", {}, async (world) => {
    const tabs = await world.signedIn(2);
    const session = "**/api/auth/session";
    for (const fail of [(route) => route.abort(), (route) => route.fulfill({ status: 502, body: "<h1>Bad gateway</h1>" })]) {
      await world.context.route(session, fail);
      await world.pass(5 * MINUTE, { step: 10 });
      for (const tab of tabs) await tab.getByText("No answer from the server.").waitFor({ timeout: PATIENCE });
      await world.context.unroute(session);
      await world.pass(10);
      for (const tab of tabs) await tab.getByText("Hello Ada").waitFor({ timeout: PATIENCE });
    }
    world.assertSignedIn();
  });

  scenario("An outage of the token server for 60 s, three times a token's life, signs nobody out.", { lifetime: 20 }, async (world) => {
    const tabs = await world.signedIn(3);
    await world.switch({ fail_with: 503, reset: true });
    await world.pass(60, { step: 2 });
    for (const tab of tabs) assert.equal(await errorIn(tab), "RefreshUnavailable");
    const { refreshes } = await world.report();
    assert.ok(refreshes >= 2 && refreshes <= 10, `${refreshes} attempts`);
    world.assertSignedIn();
    await world.switch({ fail_with: null });
    await world.pass(70, { step: 2 }); // the back-off ends at 60 s, and 20 %
    for (const tab of tabs) assert.equal(await errorIn(tab), "none");
    world.assertSignedIn();
    assert.deepEqual([...new Set((await world.report()).notes)].sort(), ["refresh_failed", "refreshed", "sign_in"]);
  });

  scenario("A refused refresh token ends at /login in every tab.", {}, async (world) => {
    const tabs = await world.signedIn(4);
    await world.switch({ refuse_refresh: true, reset: true });
    await world.pass(5 * MINUTE, { step: 10 });
    for (const tab of tabs) {
      await tab.waitForURL(`${world.address}/login`, { timeout: PATIENCE });
      await tab.getByRole("button", { name: "Sign in" }).waitFor({ timeout: PATIENCE });
      assert.deepEqual(tab.problems, []);
    }
    assert.equal((await world.report()).refreshes, 1);
    assert.deepEqual((await world.context.cookies()).filter(({ name }) => name === cookie), []);
    await world.switch({ refuse_refresh: false });
    await world.fillIn(tabs[0], true); // a sign-in is news to no other tab, in either version
    await tabs[0].getByText("Hello Ada").waitFor({ timeout: PATIENCE });
  });

  scenario("24 hours of use in two tabs, with API calls and a closed lid in between, without a sign-out.", {}, async (world) => {
    const tabs = await world.signedIn(2);
    await world.switch({ reset: true });
    let good = 0;
    for (let hour = 0; hour < 24; hour++) {
      if (hour === 12) await world.sleepWithLidClosed(HOUR);
      else await world.pass(HOUR, { step: 90 });
      for (const tab of tabs) {
        await tab.getByRole("button", { name: "Call it 8 times at once" }).click();
        await tab.getByText("8 of 8 answers are good").waitFor({ timeout: PATIENCE });
        good += 8;
      }
      world.assertSignedIn();
    }
    const { refreshes, notes } = await world.report();
    assert.equal(good, 24 * 16);
    assert.ok(refreshes > 23 * 11, `${refreshes} refreshes`);
    assert.deepEqual([...new Set(notes)].filter((note) => note !== "sign_in"), ["refreshed"]);
  });
}
