import { signOut, useSession } from "next-auth/react";
import { useEffect, useState } from "react";

const PATIENCE = 5_000; // milliseconds between two questions to a server that does not answer

/**
 * The session, and where it belongs: a refused refresh token is a sign-out, who is signed out belongs to /login, who is
 * signed in does not.
 *
 * `status` is next-auth's, and "unsure" while next-auth says "unauthenticated" only because a read has failed.
 */
export function useAuth(path, navigate) {
  const { data: session, status } = useSession();
  const [confirmed, setConfirmed] = useState(true); // that no session means signed out
  const refused = session?.error === "RefreshAccessTokenError";
  const signedOut = status === "unauthenticated";

  useEffect(() => {
    if (refused) signOut({ callbackUrl: "/login" });
  }, [refused]);

  useEffect(() => {
    if (status === "authenticated" && !refused) {
      setConfirmed(false);
      if (path === "/login") navigate("/");
    }
    if (signedOut && confirmed && path !== "/login") navigate("/login");
  }, [status, refused, confirmed, path]);

  useEffect(() => (signedOut && !confirmed ? askUntilSure(() => setConfirmed(true)) : undefined), [signedOut, confirmed]);

  if (refused) return { session, status: "loading" };
  return { session, status: signedOut && !confirmed ? "unsure" : status };
}

/**
 * Ask the server until it answers. next-auth takes a failed read for a sign-out, and then never asks again: where the
 * session still lives, only a new page gets next-auth going. Returns what stops the asking.
 */
function askUntilSure(onSignedOut) {
  let stopped = false;
  let timer;
  const ask = async () => {
    clearTimeout(timer);
    const session = await readSession();
    if (stopped) return;
    if (session === undefined) timer = setTimeout(ask, PATIENCE);
    else if (session?.user) location.reload();
    else onSignedOut();
  };
  addEventListener("online", ask);
  ask();
  return () => {
    stopped = true;
    clearTimeout(timer);
    removeEventListener("online", ask);
  };
}

/** What the server says, null or empty for nobody; undefined where it does not answer. */
async function readSession() {
  try {
    const response = await fetch("/api/auth/session");
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}
