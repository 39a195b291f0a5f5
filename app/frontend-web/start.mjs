/**
 * Starts the standalone server with what it lacks: an address that does not depend on HOSTNAME (which container
 * runtimes set to the pod's name), a shutdown that drains, limits on requests, and a policy on what pages may load.
 */
import { randomBytes } from "node:crypto";
import diagnostics from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import http from "node:http";

import { guarded } from "./guard.mjs";

const number = (name, fallback) => {
  const value = Number.parseFloat(process.env[name] ?? "");
  return Number.isFinite(value) && value >= 0 ? value : fallback;
};
const DRAIN_SECONDS = number("DRAIN_SECONDS", 3);
const GRACE_SECONDS = 20;

process.env.HOSTNAME = process.env.BIND_ADDRESS || "0.0.0.0";
process.env.PORT ||= "3000";
process.env.NEXT_MANUAL_SIG_HANDLE = "true";

let server;
diagnostics.subscribe("http.server.request.start", (event) => {
  server = event.server;
  // Keep-alive clients come back on a new connection, which reaches another replica.
  if (globalThis.todoDraining) event.response.setHeader("Connection", "close");
});

function close() {
  if (!server) process.exit(0);
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  setTimeout(() => process.exit(0), GRACE_SECONDS * 1000).unref();
}

process.on("SIGTERM", () => {
  if (globalThis.todoDraining) return;
  globalThis.todoDraining = true; // from here on /ready answers 503
  setTimeout(close, DRAIN_SECONDS * 1000);
});
process.on("SIGINT", () => process.exit(130));

if (!process.env.BETTER_AUTH_SECRET?.trim()) {
  console.error("todo-frontend-web: BETTER_AUTH_SECRET is not set; nobody can log in");
  if (process.env.ENVIRONMENT?.trim().toLowerCase() === "production") process.exit(2);
}

function guardedBySettings(listener) {
  try {
    return guarded(listener, process.env.TRUSTED_PROXIES);
  } catch {
    console.error("todo-frontend-web: TRUSTED_PROXIES must hold networks such as 10.244.0.0/16");
    return process.exit(2);
  }
}

// Next wrote the base path into every address of the build; a setting that says another one would be a lie.
const { basePath } = JSON.parse(readFileSync(new URL(".next/required-server-files.json", import.meta.url), "utf8")).config;
const wanted = process.env.NEXT_PUBLIC_BASE_PATH?.trim().replace(/\/+$/, "");
if (wanted !== undefined && wanted !== basePath) {
  console.error(`todo-frontend-web: NEXT_PUBLIC_BASE_PATH is "${wanted}", and this was built for "${basePath}"`);
  process.exit(2);
}

/** Next gives the nonce that it finds in this header of the request to each script of the page. */
function withPolicy(listener) {
  return (request, response) => {
    const own = `'self' 'nonce-${randomBytes(16).toString("base64")}'`;
    const policy =
      `default-src 'self'; script-src ${own}; style-src ${own}; img-src 'self' data:; base-uri 'none'; ` +
      "form-action 'self'; frame-ancestors 'none'; object-src 'none'";
    request.headers["content-security-policy"] = policy;
    response.setHeader("Content-Security-Policy", policy);
    listener(request, response);
  };
}

const { createServer } = http;
http.createServer = (listener) => createServer(guardedBySettings(withPolicy(listener)));

await import("./server.js");
