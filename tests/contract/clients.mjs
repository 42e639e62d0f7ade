// Every scenario of the real next-auth/react against one server: node clients.mjs <dialect> <origin> <origin
// with the provider hub>. Writes JSON.

import { Tab, freshClient } from "./tab.mjs"

const [kind, plain, withHub] = process.argv.slice(2)
const right = { username: "ada", password: "right" }

// Each scenario gets the tab, the client, and how to mount. Where it is meddled with, its requests alone do not say it all.
const mounted = async ({ mount }) => void (await mount())
const called = (call) => async (context) => {
  await context.mount()
  const result = await call(context)
  await context.tab.atRest()
  return result
}
const unmounted = (call) => async (context) => {
  const result = await call(context)
  await context.tab.atRest()
  return result
}
const session = { user: { name: "given" }, expires: "2099-01-01T00:00:00.000Z" }
const signIn = (options, ...more) => called(({ client }) => client.signIn("credentials", options, ...more))
const silent = (fields) => signIn({ ...fields, redirect: false, callbackUrl: "/home" })
const update = (...data) => called(({ hook }) => hook().update(...data))

const scenarios = {
  "mount": { as: "ada", run: mounted },
  "mount: signed out": { run: mounted },
  "mount: a garbled cookie": { cookie: "garbage", run: mounted },
  "mount: the jwt callback ends the session": { as: "gone", run: mounted },
  "mount: the jwt callback throws": { as: "failing", run: mounted },
  "mount: with a session": { as: "ada", props: { session }, run: mounted },
  "mount: with null": { as: "ada", props: { session: null }, run: mounted },
  "mount: the server is away": { as: "ada", broken: ["/session"], run: mounted },
  "focus": { as: "ada", run: called(({ tab }) => tab.seen()) },
  "focus: twice": { as: "ada", run: called(async ({ tab }) => (await tab.seen(), await tab.seen())) },
  "focus: signed out": { run: called(({ tab }) => tab.seen()) },
  "focus: turned off": { as: "ada", props: { refetchOnWindowFocus: false }, run: called(({ tab }) => tab.seen()) },
  "focus: the server is away": { as: "ada", run: called(async ({ tab }) => (tab.broken.add("/session"), await tab.seen())) },
  "poll": { as: "ada", props: { refetchInterval: 7 }, run: called(async ({ tab }) => (await tab.fireIntervals(), await tab.fireIntervals())) },
  "poll: signed out": { props: { refetchInterval: 7 }, run: called(({ tab }) => tab.fireIntervals()) },
  "poll: offline": { as: "ada", props: { refetchInterval: 7, refetchWhenOffline: false }, run: called(({ tab }) => tab.goOffline()) },
  "getSession": { as: "ada", run: called(({ client }) => client.getSession()) },
  "getSession: signed out": { run: called(({ client }) => client.getSession()) },
  "getSession: without a provider": { as: "ada", run: unmounted(({ client }) => client.getSession()) },
  "getCsrfToken": { run: unmounted(({ client }) => client.getCsrfToken()) },
  "getProviders": { run: unmounted(({ client }) => client.getProviders()) },
  "update: with data": { as: "ada", run: update({ theme: "dark" }) },
  "update: without data": { as: "ada", run: update() },
  "update: signed out": { run: update({ theme: "dark" }) },
  "update: the jwt callback throws": { as: "ada", run: update("fail") },
  "update: the jwt callback ends the session": { as: "ada", run: update("end") },
  "update: with a lost CSRF cookie": {
    as: "ada",
    meddled: true,
    run: called(async ({ tab, hook }) => {
      const send = tab.send.bind(tab)
      tab.send = (url, options) => {
        if (options.method === "POST") for (const name of tab.jar.keys()) if (name.includes("csrf")) tab.jar.delete(name)
        return send(url, options)
      }
      return await hook().update({ theme: "dark" })
    }),
  },
  "signIn: quietly": { run: silent(right) },
  "signIn: quietly, over a session": { as: "eve", run: silent(right) },
  ...Object.fromEntries(
    ["wrong", "boom", "locked", "refused", "elsewhere", "abroad", "judge", "nobody"].map((username) => [
      `signIn: quietly, ${username}`,
      { run: silent({ username, password: username === "wrong" ? "false" : "right" }) },
    ]),
  ),
  "signIn": { run: signIn(right) },
  "signIn: with a place": { run: signIn({ ...right, callbackUrl: "/deep?a=b" }) },
  "signIn: with a hash": { run: signIn({ ...right, callbackUrl: "/deep#here" }) },
  "signIn: to another site": { run: signIn({ ...right, callbackUrl: "https://evil.example/x" }) },
  "signIn: wrong": { run: signIn({ ...right, password: "false" }) },
  "signIn: with more parameters": { run: signIn({ ...right }, { hint: "ada" }) },
  "signIn: no provider": { run: called(({ client }) => client.signIn()) },
  "signIn: an unknown provider": { run: called(({ client }) => client.signIn("nobody", { callbackUrl: "/home" })) },
  "signIn: the server is away": { broken: ["/providers"], run: called(({ client }) => client.signIn("credentials", right)) },
  "signIn: hub": { hub: true, run: called(({ client }) => client.signIn("hub", { callbackUrl: "/home" })) },
  "signIn: hub, with more parameters": { hub: true, run: called(({ client }) => client.signIn("hub", {}, { prompt: "login" })) },
  "signIn: hub, quietly": { hub: true, run: called(({ client }) => client.signIn("hub", { redirect: false })) },
  "signOut": { as: "ada", run: called(({ client }) => client.signOut()) },
  "signOut: with a place": { as: "ada", run: called(({ client }) => client.signOut({ callbackUrl: "/bye" })) },
  "signOut: quietly": { as: "ada", run: called(({ client }) => client.signOut({ redirect: false, callbackUrl: "/bye" })) },
  "signOut: signed out": { run: called(({ client }) => client.signOut({ redirect: false })) },
  "required": { required: true, as: "ada", run: mounted },
  "required: signed out": { required: true, run: mounted },
  "required: signed out, with a callback": { required: true, onUnauthenticated: true, run: mounted },
  "another tab: read the session": { as: "ada", run: called(({ tab }) => tab.hears("getSession")) },
  "another tab: signed out": { as: "ada", meddled: true, run: called(({ tab }) => (tab.forgetSession(), tab.hears("signout"))) },
  "another tab: signed in": { meddled: true, run: called(async ({ tab }) => (await tab.signIn("ada"), await tab.hears("getSession"))) },
  "the whole way": {
    run: called(async ({ tab, client, hook }) => {
      const first = await client.signIn("credentials", { ...right, redirect: false })
      await tab.atRest()
      const second = await hook().update({ theme: "dark" })
      await tab.atRest()
      return [first, second, await client.signOut({ redirect: false })]
    }),
  },
} // prettier-ignore

async function recorded({ as, cookie, broken = [], props = {}, required, onUnauthenticated, hub, meddled, run }, number) {
  const tab = new Tab({ origin: hub ? withHub : plain, page: "/page?x=1" })
  if (as) await tab.signIn(as)
  if (cookie) tab.jar.set(kind === "authjs" ? "authjs.session-token" : "next-auth.session-token", cookie)
  for (const path of broken) tab.broken.add(path)
  const client = await freshClient(kind, number)
  const { createElement } = await import("react")
  const { createRoot } = await import("react-dom/client")
  let hook
  let root
  const options = required && { required, onUnauthenticated: onUnauthenticated && (() => tab.moved("callback")) }
  function Page() {
    hook = client.useSession(options)
    tab.renders++
    tab.touch()
    const state = JSON.stringify([hook.status, hook.data === undefined ? "undefined" : hook.data])
    if (tab.states.at(-1) !== state) tab.states.push(state)
    return null
  }
  const mount = async () => {
    root = createRoot(tab.container)
    root.render(createElement(client.SessionProvider, props, createElement(Page)))
    await tab.atRest()
  }
  let result
  try {
    result = await run({ tab, client, mount, hook: () => hook })
  } catch (error) {
    result = `${error.name} is thrown`
  }
  await tab.atRest()
  const setup = { as, cookie, hub, meddled }
  const told = { setup, result: result === undefined ? "undefined" : result, ...tab.told() }
  root?.unmount()
  await tab.atRest()
  tab.close()
  return told
}

const answer = {}
let number = 0
for (const [name, scenario] of Object.entries(scenarios)) answer[name] = [await recorded(scenario, number++)]
process.stdout.write(JSON.stringify(answer), () => process.exit(0))
