"""The heart: when a session is refreshed, by whom, and what becomes of the new refresh token."""
