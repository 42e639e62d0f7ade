// One browser tab for the real next-auth/react: a DOM, a jar of cookies, and a record of all that leaves it.

import { createRequire } from "node:module"
import { BroadcastChannel as Channel } from "node:worker_threads"
import { JSDOM, VirtualConsole } from "jsdom"

const require = createRequire(import.meta.url)
const QUIET = 6 // turns of the event loop in which nothing happens: a machine that stands still makes none
const LONGEST = 60_000 // milliseconds

const dom = new JSDOM("<!doctype html><body></body>", {
  url: "http://127.0.0.1/",
  pretendToBeVisual: true,
  virtualConsole: new VirtualConsole(),
})

function global(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true })
}

export class Tab {
  constructor({ origin, page }) {
    Object.assign(this, { origin, jar: new Map(), requests: [], answers: [], beacons: [], navigations: [], messages: [] })
    Object.assign(this, { intervals: [], states: [], renders: 0, underway: 0, moves: 0, broken: new Set() })
    this.page = origin + page
    this.container = dom.window.document.body.appendChild(dom.window.document.createElement("div"))
    this.channels = []
    this.open()
  }

  open() {
    const tab = this
    dom.window.localStorage.clear()
    const location = {
      get href() { return tab.page },
      set href(url) { tab.moved(`to ${url}`) },
      reload: () => tab.moved("reload"),
    } // prettier-ignore
    const window = new Proxy(dom.window, {
      get(target, key) {
        if (key === "location") return location
        const value = Reflect.get(target, key, target)
        return typeof value === "function" && value.prototype === undefined ? value.bind(target) : value
      },
    })
    this.online = true
    const navigator = {
      userAgent: "tab",
      get onLine() { return tab.online },
      sendBeacon: (url, body) => tab.beacon(url, body),
    } // prettier-ignore
    const storage = dom.window.localStorage
    const localStorage = {
      getItem: (key) => storage.getItem(key),
      setItem: (key, value) => {
        const { timestamp, ...message } = JSON.parse(value)
        tab.sent(`${key} ${JSON.stringify(message)}`)
        storage.setItem(key, value)
      },
    }
    global("window", window)
    global("document", dom.window.document)
    global("navigator", navigator)
    global("localStorage", localStorage)
    global("BroadcastChannel", this.channelClass())
    global("fetch", (url, options) => this.fetched(url, options))
    // Polls are fired by hand: what counts is that they were asked for, and what they do.
    global("setInterval", (callback, milliseconds) => this.intervals.push({ callback, milliseconds }))
    global("clearInterval", (number) => number && (this.intervals[number - 1] = undefined))
    for (const level of ["error", "warn", "debug"]) console[level] = () => {}
  }

  channelClass() {
    const tab = this
    // The real channel; it only tells what was posted, and lets the process end.
    return class extends Channel {
      constructor(name) {
        super(name)
        this.unref()
        tab.channels.push(this)
        this.addEventListener("message", () => (tab.underway--, tab.touch()))
      }
      postMessage(message) {
        tab.sent(`${this.name} ${JSON.stringify(message)}`)
        tab.underway += tab.channels.length - 1
        super.postMessage(message)
      }
    }
  }

  touch() { this.moves++ } // prettier-ignore
  sent(message) { this.messages.push(message), this.touch() } // prettier-ignore
  moved(where) { this.navigations.push(where), this.touch() } // prettier-ignore

  async fetched(url, { method = "GET", headers = {}, body } = {}) {
    const place = this.requests.length
    const told = Object.entries(headers).map(([name, value]) => `${name}: ${value}`.toLowerCase())
    this.requests.push([method.toUpperCase(), url, ...told.sort(), ...(body === undefined ? [] : [`${body}`])].join(" | "))
    this.answers.push(null)
    this.underway++
    // What the client says before it asks is shown before it is answered, however fast the server is.
    for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate)
    try {
      if ([...this.broken].some((path) => url.endsWith(path))) {
        this.answers[place] = "broken"
        return new Response("<h1>Bad gateway</h1>", { status: 502, headers: { "content-type": "text/html" } })
      }
      const response = await this.send(url, { method, headers, body })
      this.answers[place] = `${response.status} ${await response.clone().text()}`
      return response
    } finally {
      this.underway--
      this.touch()
    }
  }

  beacon(url, body) {
    this.underway++
    const told = new URLSearchParams(body)
    this.send(url, { method: "POST", body }).then((response) => {
      this.beacons.push(`${url} ${told.get("level")} ${told.get("code")}: ${response.status}`)
      this.underway--
      this.touch()
    })
    return true
  }

  async send(url, { headers, ...options }) {
    const cookie = [...this.jar].map((pair) => pair.join("=")).join("; ")
    const response = await realFetch(new URL(url, this.origin), { ...options, headers: { ...headers, cookie }, redirect: "manual" })
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(";")[0].split(/=(.*)/s)
      this.jar.delete(name)
      if (!/max-age=0(;|$)/i.test(line)) this.jar.set(name, value)
    }
    return response
  }

  async signIn(username) {
    const { csrfToken } = await (await this.send("/api/auth/csrf", {})).json()
    const body = new URLSearchParams({ csrfToken, username, password: "right", json: "true" })
    await this.send("/api/auth/callback/credentials", { method: "POST", headers: { "x-auth-return-redirect": "1" }, body })
  }

  forgetSession() {
    for (const name of this.jar.keys()) if (name.includes("session-token")) this.jar.delete(name)
  }

  async atRest() {
    const began = Date.now()
    for (let turn = 0, moves = this.moves; turn < QUIET; turn++) {
      if (Date.now() - began > LONGEST) throw new Error("the tab does not come to rest: a loop of requests or renders")
      await new Promise((resolve) => setTimeout(resolve, 5))
      await new Promise(setImmediate)
      if (this.underway > 0 || moves !== this.moves) turn = -1
      moves = this.moves
    }
  }

  async fireIntervals() {
    for (const interval of this.intervals) interval?.callback()
    await this.atRest()
  }

  async seen() {
    dom.window.document.dispatchEvent(new dom.window.Event("visibilitychange"))
    await this.atRest()
  }

  async goOffline() {
    this.online = false
    dom.window.dispatchEvent(new dom.window.Event("offline"))
    await this.atRest()
  }

  // What another tab of the same browser said, in the form of either client.
  async hears(trigger) {
    const message = { event: "session", data: { trigger } }
    const newValue = JSON.stringify({ ...message, timestamp: 1 })
    dom.window.dispatchEvent(new dom.window.StorageEvent("storage", { key: "nextauth.message", newValue }))
    const other = new Channel("next-auth")
    this.underway += this.channels.length
    other.postMessage(message)
    await this.atRest()
    other.close()
  }

  told() {
    const { requests, answers, beacons, navigations, messages, states, renders } = this
    const intervals = this.intervals.filter(Boolean).map(({ milliseconds }) => milliseconds)
    return { requests, answers, beacons, navigations, messages, intervals, states, renders }
  }

  close() {
    for (const channel of this.channels) channel.close()
    this.container.remove()
  }
}

const realFetch = globalThis.fetch

export async function freshClient(kind, run) {
  if (kind === "authjs") return await import(`${new URL("./node_modules/next-auth-beta/react.js", import.meta.url)}?run=${run}`)
  for (const file of Object.keys(require.cache)) if (file.includes("/next-auth/")) delete require.cache[file]
  return require("next-auth/react")
}
