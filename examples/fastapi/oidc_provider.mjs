// A real OpenID provider (the certified oidc-provider) for examples/fastapi/oidc.py. Everything is in memory.
// node oidc_provider.mjs <address of the application>; prints its issuer.
import http from 'node:http'
import Provider from 'oidc-provider'

const application = process.argv[2]
const server = http.createServer()
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'example',
      client_secret: 'a secret of the example',
      redirect_uris: [`${application}/api/auth/callback/local`],
      post_logout_redirect_uris: [`${application}/`],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    }],
    claims: { openid: ['sub'], profile: ['name'], email: ['email'] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: id, email: `${id}@example.com` }) }),
    rotateRefreshToken: true,
    ttl: { AccessToken: 30, IdToken: 300, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
    features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
    cookies: { keys: ['of the example'] },
  })
  const answer = provider.callback()
  server.on('request', answer)
  console.log(issuer)
})
