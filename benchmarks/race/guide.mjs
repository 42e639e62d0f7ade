// The real Auth.js behind plain HTTP, with the refresh callback that its guide on refresh token rotation describes. The
// argument is the provider's token endpoint. Prints its port, and ends when its input does.
import { createServer } from "node:http";
import { Auth } from "@auth/core";
import Credentials from "@auth/core/providers/credentials";

const endpoint = process.argv[2];
let ahead = 0; // seconds, by which the driver has moved the clock that decides about expiry
const now = () => Date.now() / 1000 + ahead;

async function askedFor(fields) {
  const response = await fetch(endpoint, { method: "POST", body: new URLSearchParams(fields) });
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return { access_token: content.access_token, refresh_token: content.refresh_token, expires_at: now() + content.expires_in };
}

// The guide signs in by OAuth, and finds the tokens in `account`. A password has no account, so here they are the user's.
async function authorize({ username, password }) {
  return { id: username, name: username, tokens: await askedFor({ grant_type: "password", username, password }) };
}

// As in the guide: good tokens stay, others are asked for anew, and a failure leaves a mark beside the old ones.
async function jwt({ token, user }) {
  if (user) return { ...token, ...user.tokens };
  if (now() < token.expires_at) return token;
  try {
    const tokens = await askedFor({ grant_type: "refresh_token", refresh_token: token.refresh_token });
    return { ...token, ...tokens, refresh_token: tokens.refresh_token ?? token.refresh_token };
  } catch {
    return { ...token, error: "RefreshTokenError" };
  }
}

const config = {
  secret: "the secret of the race, which nobody else needs to know",
  trustHost: true,
  basePath: "/api/auth",
  logger: { debug() {}, warn() {}, error() {} },
  providers: [Credentials({ credentials: { username: {}, password: {} }, authorize })],
  callbacks: { jwt, session: ({ session, token }) => ({ ...session, error: token.error }) },
};

async function answer(incoming, outgoing) {
  const parts = [];
  for await (const part of incoming) parts.push(part);
  if (incoming.url === "/ahead") {
    ahead = Number(Buffer.concat(parts));
    return outgoing.end();
  }
  const { method, headers } = incoming;
  const body = method === "GET" ? undefined : Buffer.concat(parts);
  const response = await Auth(new Request(`http://${headers.host}${incoming.url}`, { method, headers, body }), config);
  for (const [name, value] of response.headers) if (name !== "set-cookie") outgoing.setHeader(name, value);
  outgoing.setHeader("set-cookie", response.headers.getSetCookie());
  outgoing.statusCode = response.status;
  outgoing.end(Buffer.from(await response.arrayBuffer()));
}

const server = createServer((incoming, outgoing) => void answer(incoming, outgoing));
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit(0));
