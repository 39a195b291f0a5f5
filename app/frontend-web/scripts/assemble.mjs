// The standalone folder is complete afterwards: `node .next/standalone/start.mjs` is the whole server.
import { cpSync } from "node:fs";

const standalone = ".next/standalone";
cpSync(".next/static", `${standalone}/.next/static`, { recursive: true });
for (const file of ["start.mjs", "guard.mjs"]) cpSync(file, `${standalone}/${file}`);
