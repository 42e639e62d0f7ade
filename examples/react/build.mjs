// Bundles the application twice: build/nextauth-v4.js on next-auth 4.24, build/authjs.js on next-auth 5 beta. The sources
// are the same, and both packages are as npm delivers them.
import { build } from "esbuild";

const clients = { "nextauth-v4": "next-auth/react", authjs: "next-auth-beta/react" };

for (const [dialect, client] of Object.entries(clients)) {
  await build({
    entryPoints: ["src/main.jsx"],
    outfile: `build/${dialect}.js`,
    alias: { "next-auth/react": client },
    bundle: true,
    minify: true,
    jsx: "automatic",
    format: "iife",
    // Both clients read NEXTAUTH_URL and the like, which Next.js would put in: unset, they ask under /api/auth.
    define: { "process.env": JSON.stringify({ NODE_ENV: "production" }) },
    logLevel: "warning",
  });
}
