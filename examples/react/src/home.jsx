import { signOut } from "next-auth/react";
import { useState } from "react";

export function Home({ session }) {
  const [outcome, setOutcome] = useState("");

  async function call(times) {
    setOutcome("");
    const good = await Promise.all(Array.from({ length: times }, profileIsGood));
    setOutcome(`${good.filter(Boolean).length} of ${times} answers are good`);
  }

  return (
    <main>
      <h1>Hello {session.user.name}</h1>
      <dl>
        <dt>Access token good until</dt>
        <dd>{session.accessTokenExpires}</dd>
        <dt>The server would refresh at</dt>
        <dd>{session.refreshAt}</dd>
        <dt>Error</dt>
        <dd id="error">{session.error ?? "none"}</dd>
      </dl>
      <p>
        <button onClick={() => call(1)}>Call the API</button>
        <button onClick={() => call(8)}>Call it 8 times at once</button>
        <button onClick={() => signOut({ callbackUrl: "/login" })}>Sign out</button>
      </p>
      <p role="status">{outcome}</p>
    </main>
  );
}

/** The API is the Python application's. The access token stays there: the browser sends its cookie, as to any page. */
async function profileIsGood() {
  try {
    const response = await fetch("/api/profile");
    return response.ok && (await response.json()).name !== undefined;
  } catch {
    return false;
  }
}
