const SOONEST = 5; // seconds between two reads, also where the browser's clock is ahead or the token server is down

/**
 * In how many seconds the session should be read again: what `refetchInterval` takes, where 0 means never.
 *
 * The server says when it would refresh (`refreshAt`, inside the margin before `accessTokenExpires`).
 */
export function secondsUntilRefresh(session, now) {
  if (!session?.accessTokenExpires) return 0;
  const at = Date.parse(session.refreshAt ?? session.accessTokenExpires);
  return Math.max(SOONEST, Math.ceil((at - now) / 1000));
}
