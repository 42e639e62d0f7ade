// What a page without a framework does. It leaves its traces for the tests to read.
import * as client from "/somewhere/auth/client.js";

const traces = { client, seen: [], violations: [] };
globalThis.traces = traces;
addEventListener("securitypolicyviolation", (event) => traces.violations.push(`${event.effectiveDirective} ${event.blockedURI}`));
client.onSessionChange((session) => traces.seen.push(session));
client.startSessionRefresh({ redirectTo: "/login", signOutOnError: true });
