"""The session cookie: sealed as Auth.js seals it, cut into chunks where one cookie is too small."""
