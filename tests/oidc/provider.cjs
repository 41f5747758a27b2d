// oidc-provider as the OpenID provider by which people sign in to the server under test; the tests
// in oidc.rs run it.
//
//   node provider.cjs PORT CALLBACK PAGE
//
// PAGE is where it sends browsers that have signed out.
//
// NODE_PATH leads to oidc-provider. It has a client for each algorithm of ID tokens, and lets in
// whoever types a name; that name is the subject.
'use strict';

const { generateKeyPairSync } = require('node:crypto');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const [port, callback, page] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

function key(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), use: 'sig', kid: `key-${alg}`, alg };
}

const keys = [
  key('rsa', { modulusLength: 2048 }, 'RS256'),
  key('rsa', { modulusLength: 2048 }, 'PS256'),
  key('ec', { namedCurve: 'P-256' }, 'ES256'),
  key('ed25519', {}, 'EdDSA'),
];

// How each client says who it is.
const authentication = {
  RS256: 'client_secret_basic',
  PS256: 'client_secret_basic',
  ES256: 'client_secret_basic',
  EdDSA: 'none',
};

const clients = Object.entries(authentication).map(([alg, method]) => ({
  client_id: `pacs-${alg}`,
  client_secret: method === 'none' ? undefined : 'wooden bridge: 71% goats',
  redirect_uris: [callback],
  post_logout_redirect_uris: [page],
  grant_types: ['authorization_code'],
  response_types: ['code'],
  id_token_signed_response_alg: alg,
  token_endpoint_auth_method: method,
}));

async function main() {
  // It is a module, which NODE_PATH does not lead to.
  const file = path.join(process.env.NODE_PATH, 'oidc-provider/lib/index.js');
  const { Provider } = await import(pathToFileURL(file));
  const provider = new Provider(issuer, {
    clients,
    jwks: { keys },
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none'],
    enabledJWA: { idTokenSigningAlgValues: Object.keys(authentication) },
    pkce: { required: () => true },
    claims: { openid: ['sub'], profile: ['preferred_username'] },
    conformIdTokenClaims: false,
    findAccount: (_, accountId) => ({
      accountId,
      claims: () => ({ sub: accountId, preferred_username: `name of ${accountId}` }),
    }),
  });
  provider.listen(Number(port), '127.0.0.1');
}

main();
