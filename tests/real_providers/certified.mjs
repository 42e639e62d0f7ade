// The certified oidc-provider with its own sign-in form, and what it has seen. Ends with its standard input.
// Its argument: JSON with client_id, client_secret, redirect_uris, post_logout_redirect_uris, backchannel_logout_uri,
// access_token_seconds. Its first line: JSON with issuer and control.

import { createServer } from 'node:http'
import Provider from 'oidc-provider'

const { access_token_seconds: accessTokenSeconds, ...client } = JSON.parse(process.argv[2])
const HOST = '127.0.0.1'
const DAY = 86400
const seen = { rotations: 0, reuses: 0, refusals: 0, revocations: 0 }

async function listening(server) {
  await new Promise((resolve) => server.listen(0, HOST, resolve))
  return server.address().port
}

// Requests to where a client says so, such as logout tokens: to this machine only, and without the package's own
// dispatcher, which refuses just that.
async function toThisMachine(url, { dispatcher, ...options }) {
  const { hostname } = new URL(url)
  if (hostname !== HOST && hostname !== 'localhost') throw new Error(`${hostname} is not this machine`)
  return globalThis.fetch(url, options)
}

const server = createServer()
const issuer = `http://localhost:${await listening(server)}`
const provider = new Provider(issuer, {
  clients: [{
    ...client,
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'client_secret_basic',
    backchannel_logout_session_required: true,
  }],
  claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
  cookies: { keys: ['for the tests only'] },
  features: {
    devInteractions: { enabled: true },
    revocation: { enabled: true },
    backchannelLogout: { enabled: true },
  },
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id, name: id, email: `${id}@example.com` }) }),
  fetch: toThisMachine,
  issueRefreshToken: async () => true,
  rotateRefreshToken: true,
  ttl: {
    AccessToken: accessTokenSeconds, AuthorizationCode: 60, Grant: DAY, IdToken: DAY, Interaction: 600,
    RefreshToken: DAY, Session: DAY,
  },
})

const isRefresh = (context) => context.oidc?.params?.grant_type === 'refresh_token'
provider.on('grant.success', (context) => { if (isRefresh(context)) seen.rotations += 1 })
provider.on('grant.error', (context, error) => {
  if (!isRefresh(context)) return
  seen.refusals += 1
  if (error.error_detail === 'refresh token already used') seen.reuses += 1
})
provider.on('grant.revoked', () => { seen.revocations += 1 })
provider.on('backchannel.error', (_context, error) => console.error('back-channel logout failed:', error.message, error.cause?.message))
provider.on('server_error', (_context, error) => console.error(error))
server.on('request', provider.callback())

const control = createServer((_request, response) => {
  response.setHeader('content-type', 'application/json')
  response.end(JSON.stringify(seen))
})
console.log(JSON.stringify({ issuer, control: `http://${HOST}:${await listening(control)}` }))
process.stdin.on('end', () => process.exit(0)).resume()
