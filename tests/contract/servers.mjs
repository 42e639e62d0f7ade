// The real NextAuth v4 and Auth.js v5 behind plain HTTP, a port for each dialect and world. The first line of the output is
// a JSON object of the ports; the servers end when the input does. worlds.py answers the same names in the same way.

import { createServer } from "node:http"
import { createRequire } from "node:module"
import { Auth } from "@auth/core"
import { CredentialsSignin } from "@auth/core/errors"
import CredentialsV5 from "@auth/core/providers/credentials"

const require = createRequire(import.meta.url)
const { parse } = require("cookie")
const NextAuth = require("next-auth/next").default
const CredentialsV4 = require("next-auth/providers/credentials").default

const secret = "the secret that both sides share, long enough"
const quiet = { debug() {}, warn() {}, error() {} }
process.env.AUTH_TRUST_HOST = "1" // v4 takes the origin from the forwarded headers then, as on a hosted platform
delete process.env.NEXTAUTH_URL

class Locked extends CredentialsSignin {
  code = "locked"
}

const fields = { username: { label: "Username" }, password: { label: "Password", type: "password" } }
const reserved = new Set(["csrfToken", "callbackUrl", "json", "redirect", "redirectTo"])

function authorizeFor(dialect, calls) {
  return (credentials) => {
    const names = Object.keys(credentials).filter((name) => !reserved.has(name))
    calls.push(`authorize ${names.sort().join(" ")}`)
    const { username, password } = credentials
    if (username === "boom") throw new Error("the table of users is missing")
    if (username === "locked" && dialect === "authjs") throw new Locked()
    if (username === "locked" || password !== "right") return null
    return { id: `id-${username}`, name: username, email: `${username}@Example.com` }
  }
}

const present = (params, ...names) => names.filter((name) => params[name] !== undefined && params[name] !== null)

function callbacksFor(calls) {
  return {
    signIn(params) {
      const { provider, type, providerAccountId } = params.account
      calls.push(`signIn ${params.user.name} ${provider} ${type} ${providerAccountId}`)
      if (params.user.name === "refused") return false
      if (params.user.name === "elsewhere") return "/welcome"
      if (params.user.name === "abroad") return "https://evil.example/x"
      if (params.user.name === "judge") throw new Error("no verdict today")
      return true
    },
    jwt(params) {
      const { token, user, trigger, session } = params
      calls.push(["jwt", token.name, trigger ?? "-", ...present(params, "user", "account", "profile")].join(" "))
      if (user && token.name === "nobody") return null
      if (user && token.name === "broken") throw new Error("no token today")
      if (!user && token.name === "gone") return null
      if (!user && token.name === "failing") throw new Error("the back end is down")
      if (trigger === "update" && session === "end") return null
      if (trigger === "update" && session === "fail") throw new Error("no such theme")
      return trigger === "update" && session?.theme ? { ...token, theme: session.theme } : token
    },
    session({ session, token }) {
      calls.push(`session ${Object.keys(session.user).filter((key) => session.user[key] !== undefined).sort().join(" ")}`)
      if (token?.name === "unseen") throw new Error("nothing to see")
      return token?.theme ? { ...session, theme: token.theme } : session
    },
  }
}

function eventsFor(calls) {
  return {
    signIn: ({ user }) => void calls.push(`event signIn ${user.name}`),
    signOut: ({ token }) => void calls.push(`event signOut ${token?.name}`),
  }
}

const redirect = ({ url, baseUrl }) => {
  if (url.startsWith("/throw")) throw new Error("nowhere to go")
  if (url.startsWith("/go/")) return `${baseUrl}/landing`
  return url.startsWith("/") || url.startsWith(baseUrl) ? url.replace(/^\//, `${baseUrl}/`) : baseUrl
}

const worlds = {
  plain: {},
  https: { useSecureCookies: true },
  pages: { pages: { signIn: "/enter", signOut: "/leave", error: "/trouble", verifyRequest: "/post", newUser: "/hello" } },
  redirect: { redirect },
  oauth: {},
}

// What stands behind the provider "hub": a code is good if it is somebody's name.
const hub = createServer(async (req, res) => {
  const body = new URLSearchParams((await bodyOf(req)).toString())
  const name = body.get("code") ?? (req.headers.authorization ?? "").replace("Bearer access-", "")
  const tokens = { access_token: `access-${name}`, refresh_token: `refresh-${name}`, token_type: "Bearer", expires_in: 3600 }
  const profile = { id: `hub-${name}`, name, email: `${name}@Example.com` }
  const answer = name === "bad" ? { error: "invalid_grant" } : req.url === "/token" ? tokens : profile
  res.writeHead(name === "bad" ? 400 : 200, { "content-type": "application/json" }).end(JSON.stringify(answer))
})
await new Promise((resolve) => hub.listen(0, "127.0.0.1", resolve))
const behind = `http://127.0.0.1:${hub.address().port}`

const hubProvider = {
  id: "hub",
  name: "Hub",
  type: "oauth",
  clientId: "the-client",
  clientSecret: "the-client-secret",
  authorization: { url: "https://hub.example/authorize", params: { scope: "profile" } },
  token: `${behind}/token`,
  userinfo: `${behind}/me`,
  checks: ["state", "pkce"],
  profile: ({ id, name, email }) => ({ id, name, email }),
}

function optionsFor(dialect, world, calls) {
  const { redirect, ...options } = worlds[world]
  const credentials = dialect === "authjs" ? CredentialsV5 : CredentialsV4
  const callbacks = { ...callbacksFor(calls), ...(redirect ? { redirect } : {}) }
  const providers = [credentials({ credentials: fields, authorize: authorizeFor(dialect, calls) })]
  if (world === "oauth") providers.push(hubProvider)
  return { secret, logger: quiet, providers, callbacks, events: eventsFor(calls), ...options }
}

async function bodyOf(req) {
  const parts = []
  for await (const part of req) parts.push(part)
  return Buffer.concat(parts)
}

async function answeredByV5(req, res, { scheme, options }) {
  const headers = new Headers()
  for (let at = 0; at < req.rawHeaders.length; at += 2) headers.append(req.rawHeaders[at], req.rawHeaders[at + 1])
  const raw = await bodyOf(req)
  const body = ["GET", "HEAD"].includes(req.method) ? undefined : raw
  const request = new Request(`${scheme}://${req.headers.host}${req.url}`, { method: req.method, headers, body })
  const response = await Auth(request, { ...options, trustHost: true, basePath: "/api/auth" })
  for (const [name, value] of response.headers) if (name !== "set-cookie") res.setHeader(name, value)
  const cookies = response.headers.getSetCookie()
  if (cookies.length) res.setHeader("set-cookie", cookies)
  res.statusCode = response.status
  res.end(Buffer.from(await response.arrayBuffer()))
}

// What a page API route of Next.js adds to node's own request and response, as far as NextAuth uses it.
async function answeredByV4(req, res, { scheme, options }) {
  const url = new URL(req.url, "http://here")
  const raw = (await bodyOf(req)).toString()
  const json = (req.headers["content-type"] ?? "").includes("json")
  try {
    req.body = json ? JSON.parse(raw || "{}") : Object.fromEntries(new URLSearchParams(raw))
  } catch {
    res.statusCode = 400
    return res.end("Invalid JSON")
  }
  req.query = { ...Object.fromEntries(url.searchParams), nextauth: url.pathname.split("/").slice(3) }
  req.cookies = parse(req.headers.cookie ?? "")
  req.headers = { ...req.headers, "x-forwarded-host": req.headers.host, "x-forwarded-proto": scheme }
  res.status = (code) => ((res.statusCode = code), res)
  res.json = (value) => (res.setHeader("content-type", "application/json; charset=utf-8"), res.end(JSON.stringify(value)))
  res.send = (value) => (value !== null && typeof value === "object" ? res.json(value) : res.end(value))
  await NextAuth(req, res, { ...options })
}

function serve(dialect, world) {
  const calls = []
  const settings = { scheme: world === "https" ? "https" : "http", options: optionsFor(dialect, world, calls) }
  const answered = dialect === "authjs" ? answeredByV5 : answeredByV4
  const server = createServer((req, res) => {
    if (req.url === "/calls") return res.end(JSON.stringify(calls.splice(0)))
    answered(req, res, settings).catch((error) => {
      // v4 lets exceptions through; Next.js answers 500 then.
      if (process.env.SAY) console.error(error)
      res.statusCode = 500
      res.end("Internal Server Error")
    })
  })
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(server.address().port)))
}

const ports = {}
for (const dialect of ["authjs", "nextauth-v4"]) {
  for (const world of Object.keys(worlds)) ports[`${dialect} ${world}`] = await serve(dialect, world)
}
console.log(JSON.stringify(ports))
process.stdin.resume().on("end", () => process.exit(0))
