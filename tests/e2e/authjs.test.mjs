// next-auth 5 beta, as npm delivers it.
import { scenarios } from "./scenarios.mjs";

scenarios({ dialect: "authjs", cookie: "authjs.session-token" });
