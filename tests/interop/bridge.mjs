// The real Auth.js v5, NextAuth v4 and jose behind one pipe: a line of JSON in, a line of JSON out.

import { createRequire } from "node:module"
import { hkdfSync } from "node:crypto"
import { createInterface } from "node:readline"
import { readFileSync } from "node:fs"
import * as jose from "jose"
import * as v5 from "@auth/core/jwt"
import { Auth } from "@auth/core"
import Credentials from "@auth/core/providers/credentials"

// What the packages do not export is reached by its file: the chunking, and v4's handler without Next.js.
const modules = new URL("./node_modules/", import.meta.url)
const require = createRequire(import.meta.url)
const fileOf = (path) => new URL(path, modules).pathname
const v5Cookies = await import(new URL("@auth/core/lib/utils/cookie.js", modules))
const v4 = require("next-auth/jwt")
const v4Cookies = require(fileOf("next-auth/core/lib/cookie.js"))
const v4Core = require(fileOf("next-auth/core/index.js"))
const v4Credentials = require("next-auth/providers/credentials").default

const quiet = { debug() {}, warn() {}, error() {} }
const packages = { "nextauth-v4": v4, authjs: v5 }
const stores = { "nextauth-v4": v4Cookies.SessionStore, authjs: v5Cookies.SessionStore }

function keyFor({ dialect, secret, salt, enc }) {
  const title = dialect === "authjs" ? "Auth.js" : "NextAuth.js"
  const info = `${title} Generated Encryption Key` + (salt ? ` (${salt})` : "")
  return new Uint8Array(hkdfSync("sha256", secret, salt, info, enc === "A256CBC-HS512" ? 64 : 32))
}

function thumbprint(key) {
  return jose.calculateJwkThumbprint({ kty: "oct", k: jose.base64url.encode(key) }, `sha${key.byteLength * 8}`)
}

async function sealedByJose({ claims, enc, kid, maxAge, ...derivation }) {
  const key = keyFor({ enc, ...derivation })
  const header = { alg: "dir", enc, ...(kid ? { kid: await thumbprint(key) } : {}) }
  const end = Math.floor(Date.now() / 1000) + maxAge
  return await new jose.EncryptJWT(claims).setProtectedHeader(header).setIssuedAt().setExpirationTime(end).encrypt(key)
}

async function openedByJose({ token, ...derivation }) {
  const { enc, kid } = jose.decodeProtectedHeader(token)
  const key = keyFor({ enc, ...derivation })
  const { payload } = await jose.jwtDecrypt(token, key, { clockTolerance: 15 })
  return { claims: payload, header: jose.decodeProtectedHeader(token), right_kid: kid === (await thumbprint(key)) }
}

// Where the session's tokens come from: what the refresh guide copies in its jwt callback.
function configuration({ secret, secure, tokens, user }) {
  const callbacks = {
    jwt: ({ token, user: signedIn }) => (signedIn ? { ...token, ...tokens } : token),
    session: ({ session, token }) => ({ ...session, sub: token.sub, theme: token.theme }),
  }
  return { secret, useSecureCookies: secure, callbacks, logger: quiet, user, authorize: () => user }
}

async function v5Answers({ url, method, cookie, form, ...settings }) {
  const { authorize, user, ...config } = configuration(settings)
  const headers = new Headers({ cookie, "x-auth-return-redirect": "1" })
  const body = form === undefined ? undefined : new URLSearchParams(form)
  const request = new Request(url, { method, headers, body })
  const providers = [Credentials({ credentials: { username: {} }, authorize })]
  const response = await Auth(request, { ...config, providers, trustHost: true, basePath: "/api/auth" })
  const text = await response.text()
  return { status: response.status, body: JSON.parse(text), cookies: response.headers.getSetCookie() }
}

async function v4Answers({ url, method, cookie, form, ...settings }) {
  const { authorize, user, ...config } = configuration(settings)
  const { serialize, parse } = require("cookie")
  const path = new URL(url).pathname.split("/").slice(3)
  const req = {
    action: path[0],
    providerId: path[1],
    method,
    headers: { cookie, host: new URL(url).host },
    cookies: parse(cookie),
    query: {},
    body: form && { ...form, json: "true" },
  }
  process.env.NEXTAUTH_URL = new URL(url).origin
  const providers = [v4Credentials({ credentials: { username: {} }, authorize })]
  const answer = await v4Core.AuthHandler({ req, options: { ...config, providers } })
  const cookies = (answer.cookies ?? []).map(({ name, value, options }) => serialize(name, value, options))
  return { status: answer.status ?? 200, body: answer.body ?? { url: answer.redirect }, cookies }
}

const operations = {
  versions: () =>
    Object.fromEntries(
      ["@auth/core", "next-auth", "jose"].map((name) => [
        name,
        JSON.parse(readFileSync(new URL(`${name}/package.json`, modules), "utf8")).version,
      ]),
    ),
  seal: ({ dialect, claims, ...rest }) => packages[dialect].encode({ token: claims, ...rest }),
  open: ({ dialect, ...rest }) => packages[dialect].decode(rest),
  seal_by_jose: sealedByJose,
  open_by_jose: openedByJose,
  cut: ({ dialect, name, value, present }) =>
    new stores[dialect]({ name, options: { path: "/" } }, inJar(dialect, present), quiet).chunk(value, {}),
  join: ({ dialect, name, present }) => new stores[dialect]({ name, options: {} }, inJar(dialect, present), quiet).value,
  get_token: ({ dialect, cookie, ...rest }) => {
    const headers = new Headers({ cookie })
    const cookies = dialect === "authjs" ? undefined : require("cookie").parse(cookie)
    return packages[dialect].getToken({ req: { headers, cookies }, logger: quiet, ...rest })
  },
  ask: ({ dialect, ...rest }) => (dialect === "authjs" ? v5Answers(rest) : v4Answers(rest)),
}

function inJar(dialect, present) {
  return dialect === "authjs" ? present : { cookies: present }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...settings } = JSON.parse(line)
  let answer
  try {
    answer = { result: (await operations[operation](settings)) ?? null }
  } catch (error) {
    answer = { error: `${error.code ?? error.name}: ${error.message}` }
  }
  process.stdout.write(JSON.stringify(answer) + "\n")
}
