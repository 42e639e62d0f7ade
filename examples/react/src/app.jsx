import { SessionProvider, useSession } from "next-auth/react";
import { useEffect, useState } from "react";

import { useAuth } from "./auth.jsx";
import { Home } from "./home.jsx";
import { Login } from "./login.jsx";
import { secondsUntilRefresh } from "./schedule.js";

export function App() {
  const [interval, setInterval] = useState(0);
  // While offline there is nothing to be had, and a read that fails is a sign-out to next-auth.
  return (
    <SessionProvider refetchInterval={interval} refetchWhenOffline={false}>
      <Schedule onInterval={setInterval} />
      <Page />
    </SessionProvider>
  );
}

/** Sits inside of the provider, to know the session, and tells the provider outside when to read it again. */
function Schedule({ onInterval }) {
  const { data: session } = useSession();
  useEffect(() => onInterval(secondsUntilRefresh(session, Date.now())), [session, onInterval]);
  return null;
}

function Page() {
  const [path, setPath] = useState(location.pathname);
  useEffect(() => {
    const moved = () => setPath(location.pathname);
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);
  const { session, status } = useAuth(path, (next) => {
    history.replaceState(null, "", next);
    setPath(next);
  });
  if (status === "loading") return <p>One moment …</p>;
  if (status === "unsure") return <p>No answer from the server. This page goes on as soon as there is one.</p>;
  return status === "authenticated" ? <Home session={session} /> : <Login />;
}
