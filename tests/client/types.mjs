// Not run but compiled: what an editor says to somebody who uses the module.
import { getProviders, getSession, onSessionChange, signIn, signOut, startSessionRefresh, update } from "../../src/asgi_token_rotation/client.js";

export async function uses() {
  const session = await getSession();
  /** @type {string | undefined} */
  const name = session?.user?.name;
  // @ts-expect-error it may be null
  session.user;

  const outcome = await signIn("credentials", { redirect: false, username: "ada", password: "lovelace" });
  if (outcome && !outcome.ok) /** @type {number} */ (outcome.status).toFixed();
  await signIn("github", { redirectTo: "/me" }, { prompt: "consent" });
  // @ts-expect-error the parameters of an authorization URL are texts
  await signIn("github", {}, { prompt: 1 });

  /** @type {string} */
  const url = (await signOut({ redirect: false })).url;
  await update({ role: "admin" });
  await update();

  const stop = startSessionRefresh({ redirectTo: "/login", signOutOnError: ["MyError"] });
  // @ts-expect-error no such option
  startSessionRefresh({ interval: 60 });
  const unsubscribe = onSessionChange((next) => next?.expires);
  unsubscribe();
  stop();
  return [name, url, Object.values(await getProviders()).map((provider) => provider.signinUrl)];
}
