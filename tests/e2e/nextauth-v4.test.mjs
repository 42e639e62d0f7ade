// next-auth 4.24, as npm delivers it.
import { scenarios } from "./scenarios.mjs";

scenarios({ dialect: "nextauth-v4", cookie: "next-auth.session-token" });
