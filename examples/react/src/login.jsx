import { signIn } from "next-auth/react";
import { useState } from "react";

export function Login() {
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);

  async function submit(event) {
    event.preventDefault();
    const { username, password } = Object.fromEntries(new FormData(event.currentTarget));
    setBusy(true);
    setProblem(null);
    const { error } = (await signIn("credentials", { redirect: false, callbackUrl: "/", username, password })) ?? {};
    setBusy(false);
    if (error) setProblem(error === "CredentialsSignin" ? "Wrong user name or password." : "That did not work. Please try again.");
  }

  return (
    <form onSubmit={submit}>
      <h1>Sign in</h1>
      <label>
        User name
        <input name="username" autoComplete="username" required />
      </label>
      <label>
        Password
        <input name="password" type="password" autoComplete="current-password" required />
      </label>
      <button disabled={busy}>Sign in</button>
      {problem && <p role="alert">{problem}</p>}
    </form>
  );
}
