// A machine with tabs, and a server behind it: time, timers, claims on names and channels as browsers have them.
import { createClient } from "../../src/asgi_token_rotation/client.js";

export const BASE = "https://app.example/api/auth/";
const MINUTE = 60_000;

/** Let everything happen that needs no time. */
export async function quiet() {
  for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** Answers as our endpoints do. Its clock is `ahead` of the browser's. */
class Server {
  constructor(machine) {
    this.machine = machine;
    this.ahead = 0;
    this.lifetime = 5 * MINUTE; // of an access token
    this.margin = MINUTE;
    this.session = null; // what is answered, without times
    this.due = Infinity;
    this.rotates = true;
    this.fails = null; // instead of an answer to GET session
    this.log = []; // "GET session", …
    this.answers = {}; // by "POST signout" and the like
    this.date = true;
  }

  now() {
    return this.machine.now + this.ahead;
  }

  signIn(session = { user: { name: "Ada" }, expires: new Date(this.now() + 30 * 24 * 60 * MINUTE).toISOString() }) {
    this.session = session;
    this.due = this.now() + this.lifetime - this.margin;
  }

  count(what) {
    return this.log.filter((line) => line === what).length;
  }

  presented() {
    if (this.session === null) return null;
    if (this.rotates && this.now() >= this.due) this.due = this.now() + this.lifetime - this.margin;
    if (this.due === Infinity) return this.session;
    const [refreshAt, accessTokenExpires] = [this.due, this.due + this.margin].map((time) => new Date(time).toISOString());
    return { ...this.session, accessTokenExpires, refreshAt };
  }

  async answer(path, init) {
    const what = `${init.method ?? "GET"} ${path.replace(/\?$/, "")}`;
    this.log.push(what);
    this.lastInit = init;
    const body = init.body ? JSON.parse(init.body) : undefined;
    if (what === "GET session" && this.fails) return this.fails();
    if (this.answers[what]) return this.answers[what](body);
    if (what === "GET session") return this.json(this.presented());
    if (what === "GET csrf") return this.json({ csrfToken: "c0ffee" });
    if (what === "GET providers") return this.json(PROVIDERS);
    if (what === "POST signout") {
      this.session = null;
      return this.json({ url: new URL(body.callbackUrl, BASE).href });
    }
    return this.json("Bad request.", 400);
  }

  json(content, status = 200) {
    // Whole seconds, as in HTTP.
    const date = this.date ? { date: new Date(Math.floor(this.now() / 1000) * 1000).toUTCString() } : {};
    return new Response(JSON.stringify(content), { status, headers: { "content-type": "application/json", ...date } });
  }
}

const PROVIDERS = {
  credentials: { id: "credentials", name: "Credentials", type: "credentials", signinUrl: `${BASE}signin/credentials`, callbackUrl: `${BASE}callback/credentials` },
  github: { id: "github", name: "GitHub", type: "oauth", signinUrl: `${BASE}signin/github`, callbackUrl: `${BASE}callback/github` },
};

export class Machine {
  constructor({ now = Date.parse("2026-01-01T00:00:00Z"), locks = true, random = () => 0.5 } = {}) {
    this.now = now; // by the wall clock
    this.awake = 0; // what timers go by
    this.timers = new Map();
    this.nextTimer = 1;
    this.tabs = [];
    this.holders = []; // of the seat, the first has it
    this.hasLocks = locks;
    this.random = random;
    this.server = new Server(this);
    this.online = true;
    this.latency = 0; // of an answer
  }

  tab(options) {
    const tab = new Tab(this, options);
    this.tabs.push(tab);
    return tab;
  }

  /** Time passes, and timers ring in their order; those of one moment before any of them has an effect. */
  async pass(milliseconds) {
    const end = this.awake + milliseconds;
    await quiet();
    for (;;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end && !timer.tab?.frozen);
      if (!due.length) break;
      this.#until(Math.max(Math.min(...due.map(([, timer]) => timer.at)), this.awake));
      for (const [id, timer] of due.filter(([, { at }]) => at <= this.awake)) {
        this.timers.delete(id);
        timer.call();
      }
      await quiet();
    }
    this.#until(end);
  }

  later(milliseconds, call, tab) {
    this.timers.set(this.nextTimer, { at: this.awake + milliseconds, call, tab });
    return this.nextTimer++;
  }

  #until(awake) {
    this.now += awake - this.awake;
    this.awake = awake;
  }

  /** The lid is closed: the wall clock goes on, the timers do not. */
  sleep(milliseconds) {
    this.now += milliseconds;
  }

  grant() {
    const first = this.holders[0];
    if (!first || first.held) return;
    first.held = true;
    const released = () => {
      this.holders = this.holders.filter((other) => other !== first);
      this.grant();
      first.done();
    };
    queueMicrotask(() => Promise.resolve(first.hold()).then(released));
  }
}

class Tab {
  constructor(machine, { at = "https://app.example/", visible = true } = {}) {
    this.machine = machine;
    this.frozen = false;
    this.events = new Map();
    this.visited = [];
    this.asked = 0;
    this.delays = []; // that timers were set to
    this.channels = [];
    this.state = visible ? "visible" : "hidden";
    this.page = this.#page(at);
    this.client = createClient(BASE, this.page);
    this.seen = [];
    this.client.onSessionChange((session) => this.seen.push(session));
  }

  get leads() {
    return this.machine.holders[0]?.tab === this;
  }

  fire(type, more = {}) {
    for (const call of this.events.get(type) ?? []) call({ type, ...more });
  }

  show(visible) {
    this.state = visible ? "visible" : "hidden";
    this.fire("visibilitychange");
  }

  close() {
    this.frozen = true;
    this.machine.tabs = this.machine.tabs.filter((other) => other !== this);
    const had = this.leads;
    this.machine.holders = this.machine.holders.filter((other) => other.tab !== this);
    if (had) this.machine.grant();
  }

  #page(at) {
    const [tab, machine] = [this, this.machine];
    const location = {
      reloads: 0,
      get href() { return at; },
      set href(url) { tab.visited.push(String(url)); },
      reload() { this.reloads++; },
    };
    class Channel {
      constructor(name) { this.name = name; tab.channels.push(this); }
      postMessage(data) {
        const others = machine.tabs.filter((other) => other !== tab).flatMap((other) => other.channels);
        for (const other of others.filter(({ name }) => name === this.name)) queueMicrotask(() => other.onmessage?.({ data: structuredClone(data) }));
      }
    }
    const locks = {
      request(name, { signal }, hold) {
        return new Promise((done, fail) => {
          const holder = { tab, name, hold, done, held: false };
          machine.holders.push(holder);
          signal.addEventListener("abort", () => {
            if (holder.held) return;
            machine.holders = machine.holders.filter((other) => other !== holder);
            fail(signal.reason);
          });
          machine.grant();
        });
      },
    };
    return /** @type {any} */ ({
      location,
      document: { get visibilityState() { return tab.state; } },
      navigator: { locks: machine.hasLocks ? locks : undefined },
      Date: { now: () => machine.now },
      Math: { random: machine.random },
      BroadcastChannel: Channel,
      fetch: async (url, init) => {
        if (!machine.online) throw new TypeError("Failed to fetch");
        tab.asked++;
        if (machine.latency) await new Promise((resolve) => machine.later(machine.latency, resolve));
        return machine.server.answer(url.slice(BASE.length), init);
      },
      setTimeout: (call, delay) => {
        tab.delays.push(delay);
        return machine.later(delay > 2 ** 31 - 1 ? 1 : delay, call, tab);
      },
      clearTimeout: (id) => machine.timers.delete(id),
      addEventListener: (type, call, { signal }) => {
        if (!tab.events.has(type)) tab.events.set(type, new Set());
        if (tab.events.get(type).has(call)) return;
        tab.events.get(type).add(call);
        signal.addEventListener("abort", () => tab.events.get(type).delete(call));
      },
    });
  }
}
