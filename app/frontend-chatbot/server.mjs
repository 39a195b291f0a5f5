/**
 * The chatbot page's own server: its files, its session, and a proxy to the backend. Node's http and nothing else.
 *
 * Settings are read at run time: VITE_API_URL (where /api goes), PORT, LOG_LEVEL, ENVIRONMENT, DRAIN_SECONDS,
 * TRUSTED_PROXIES.
 * VITE_OPENAI_API_KEY may be in the environment; nothing here reads it.
 */
import { readFile, readdir } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { extname, join, sep } from "node:path";
import { pipeline } from "node:stream";
import { fileURLToPath } from "node:url";

import { guarded } from "./guard.mjs";

const DIST = join(fileURLToPath(new URL(".", import.meta.url)), "dist");
/** Both frontends use this name: on one host, ports share cookies, so one login serves both. */
const COOKIE = "todo_session";
/** Longer than the backend may wait for a language model, shorter than a browser's patience. */
const TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 5_000;
const GRACE_SECONDS = 20;

const TYPES = /** @type {Record<string, string>} */ ({
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".woff2": "font/woff2",
});
const SECURITY_HEADERS = {
  "Content-Security-Policy":
    "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
  "Referrer-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "X-Frame-Options": "DENY",
};
const FORWARDED = ["accept", "accept-language", "authorization", "content-type", "content-length", "user-agent",
  "x-forwarded-for",  "mcp-session-id", "mcp-protocol-version", "last-event-id"];
const RETURNED = ["content-type", "content-length", "cache-control", "retry-after", "www-authenticate", "location",
  "mcp-session-id", "allow"];
const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);
const LEVELS = ["debug", "info", "warning", "error", "critical"];

/**
 * @typedef {http.IncomingMessage} Request
 * @typedef {http.ServerResponse<http.IncomingMessage>} Response
 * @typedef {{ body: Buffer, type: string, immutable: boolean }} File
 */

/** @param {string} name @param {number} fallback */
function number(name, fallback) {
  const value = Number.parseFloat(process.env[name] ?? "");
  return Number.isFinite(value) && value >= 0 ? value : fallback;
}

const settings = {
  api: (process.env["VITE_API_URL"]?.trim() || "http://localhost:8000").replace(/\/+$/, ""),
  port: number("PORT", 3001),
  host: process.env["BIND_ADDRESS"] || "0.0.0.0",
  production: process.env["ENVIRONMENT"]?.trim().toLowerCase() === "production",
  drainSeconds: number("DRAIN_SECONDS", 3),
  threshold: Math.max(
    0,
    LEVELS.indexOf((process.env["LOG_LEVEL"]?.trim().toLowerCase() || "info").replace(/^warn$/, "warning")),
  ),
};
let draining = false;

/** @param {string} level @param {string} message */
function log(level, message) {
  if (LEVELS.indexOf(level) >= settings.threshold) {
    process.stdout.write(`${new Date().toISOString()} ${level.toUpperCase()} ${message}\n`);
  }
}

/**
 * Every file of dist/ by its address. Read once: the page is small, and no request can name a file that is not here.
 * @returns {Promise<Map<string, File>>}
 */
async function readFiles() {
  const files = new Map();
  for (const entry of await readdir(DIST, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    const address = path.slice(DIST.length).split(sep).join("/");
    files.set(address, {
      body: await readFile(path),
      type: TYPES[extname(path)] ?? "application/octet-stream",
      immutable: address.startsWith("/assets/"), // Vite puts the content's hash into these names
    });
  }
  return files;
}

/** @param {Response} response @param {number} status @param {unknown} body @param {http.OutgoingHttpHeaders} [headers] */
function sendJson(response, status, body, headers = {}) {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(text),
    "Cache-Control": "no-store",
    ...headers,
  });
  response.end(text);
}

/** @param {Request} request */
function sessionToken(request) {
  const pair = (request.headers.cookie ?? "").split(/; */).find((text) => text.startsWith(`${COOKIE}=`));
  return pair?.slice(COOKIE.length + 1) || null;
}

/** @param {Request} request @param {string} token @param {number} maxAge */
function sessionCookie(request, token, maxAge) {
  const secure = request.headers["x-forwarded-proto"] === "https" ? "; Secure" : "";
  return `${COOKIE}=${token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${maxAge}${secure}`;
}

/**
 * Whether the request may use the session cookie: reading always, changing only from our own page.
 * SameSite=Lax does not tell ports of one host apart; the Origin header, which browsers send with every change, does.
 * @param {Request} request
 */
function isOurOrigin(request) {
  if (SAFE.has(request.method ?? "")) return true;
  const { origin, host } = request.headers;
  if (origin === undefined) {
    return ["same-origin", "none", undefined].includes(/** @type {string | undefined} */ (request.headers["sec-fetch-site"]));
  }
  try {
    return new URL(origin).host === host;
  } catch {
    return false;
  }
}

/**
 * The backend's answer, once its headers are there; rejects when there is none in time. Each request has its own
 * connection: a kept one would stick to a replica that is going away.
 * @param {string} method @param {string} path @param {http.OutgoingHttpHeaders} headers
 * @param {NodeJS.ReadableStream | string | null} body @param {AbortSignal} [signal]
 * @returns {Promise<http.IncomingMessage>}
 */
function ask(method, path, headers, body, signal) {
  return new Promise((resolve, reject) => {
    const target = new URL(settings.api + path);
    const client = target.protocol === "https:" ? https : http;
    const request = client.request(target, { method, headers, agent: false, ...(signal && { signal }) }, resolve);
    const connecting = setTimeout(() => request.destroy(new Error("no connection in time")), CONNECT_TIMEOUT_MS);
    request.on("socket", (socket) => socket.once("connect", () => clearTimeout(connecting)));
    request.on("close", () => clearTimeout(connecting));
    request.setTimeout(TIMEOUT_MS, () => request.destroy(new Error("no answer in time")));
    request.on("error", (/** @type {NodeJS.ErrnoException} */ error) => {
      log(signal?.aborted ? "debug" : "error", `backend ${method} ${path.split("?")[0]}: ${error.code ?? error.message}`);
      reject(error);
    });
    if (body === null || typeof body === "string") request.end(body ?? undefined);
    else body.pipe(request);
  });
}

/**
 * In production the reason is in the log only.
 * @param {Response} response @param {unknown} error
 */
function sendBadGateway(response, error) {
  const { code, message } = /** @type {NodeJS.ErrnoException} */ (error);
  const reason = settings.production ? "" : ` (${code ?? message})`;
  if (response.headersSent) response.destroy();
  else sendJson(response, 502, { detail: `the backend cannot be reached${reason}` });
}

/**
 * Passes /api/… on, with the session's token in place of its cookie.
 * @param {Request} request @param {Response} response
 */
async function passOn(request, response) {
  const headers = /** @type {http.OutgoingHttpHeaders} */ ({});
  for (const name of FORWARDED) if (request.headers[name] !== undefined) headers[name] = request.headers[name];
  const token = sessionToken(request);
  if (token && headers["authorization"] === undefined) {
    if (!isOurOrigin(request)) return sendJson(response, 403, { detail: "this origin may not act for the user" });
    headers["authorization"] = `Bearer ${token}`;
  }
  const gone = new AbortController();
  response.on("close", () => response.writableFinished || gone.abort()); // the browser went away
  const method = request.method ?? "GET";
  try {
    const body = method === "GET" || method === "HEAD" ? null : request;
    const answer = await ask(method, request.url ?? "/", headers, body, gone.signal);
    const kept = /** @type {http.OutgoingHttpHeaders} */ ({});
    for (const name of RETURNED) if (answer.headers[name] !== undefined) kept[name] = answer.headers[name];
    response.writeHead(answer.statusCode ?? 502, kept);
    pipeline(answer, response, () => {});
  } catch (error) {
    sendBadGateway(response, error);
  }
}

/** @param {NodeJS.ReadableStream} stream @returns {Promise<string>} */
async function text(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString();
}

/**
 * GET /session: who is logged in. POST /session/login, /session/register: asks the backend and keeps its token in an
 * httpOnly cookie. POST /session/logout: forgets it. Not under /api, which an ingress may send to the backend.
 * @param {Request} request @param {Response} response @param {string} path
 */
async function session(request, response, path) {
  if (path === "/session" && request.method === "GET") return whoAmI(request, response);
  const action = path.slice("/session/".length);
  if (!["login", "register", "logout"].includes(action)) return sendJson(response, 404, { detail: "not found" });
  if (request.method !== "POST") return sendJson(response, 405, { detail: "use POST" }, { Allow: "POST" });
  if (!isOurOrigin(request)) return sendJson(response, 403, { detail: "this origin may not act for the user" });
  if (action === "logout") {
    return sendJson(response, 200, { user: null }, { "Set-Cookie": sessionCookie(request, "", 0) });
  }
  try {
    const body = await text(request);
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "x-forwarded-for": request.headers["x-forwarded-for"],
    };
    const answer = await ask("POST", `/api/auth/${action}`, headers, body);
    const data = JSON.parse(await text(answer));
    const status = answer.statusCode ?? 502;
    const again = answer.headers["retry-after"];
    if (status >= 300) return sendJson(response, status, data, again === undefined ? {} : { "Retry-After": again });
    const user = { id: data.user.id, email: data.user.email };
    sendJson(response, status, { user }, { "Set-Cookie": sessionCookie(request, data.access_token, data.expires_in) });
  } catch (error) {
    sendBadGateway(response, error);
  }
}

/** @param {Request} request @param {Response} response */
async function whoAmI(request, response) {
  const token = sessionToken(request);
  if (token === null) return sendJson(response, 401, { detail: "not logged in" });
  try {
    const answer = await ask("GET", "/api/auth/me", { authorization: `Bearer ${token}` }, null);
    const data = JSON.parse(await text(answer));
    if (answer.statusCode === 200) return sendJson(response, 200, { user: { id: data.id, email: data.email } });
    sendJson(response, answer.statusCode ?? 502, { detail: data.detail ?? "not logged in" });
  } catch (error) {
    sendBadGateway(response, error);
  }
}

/** @param {Request} request @param {Response} response @param {string} path @param {Map<string, File>} files */
function sendFile(request, response, path, files) {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return sendJson(response, 405, { detail: "use GET" }, { Allow: "GET, HEAD" });
  }
  // An address without a file is a page of the application; a missing asset is an error and not a page.
  const file = files.get(path) ?? (extname(path) === "" ? files.get("/index.html") : undefined);
  if (file === undefined) return sendJson(response, 404, { detail: "not found" });
  response.writeHead(200, {
    "Content-Type": file.type,
    "Content-Length": file.body.length,
    "Cache-Control": file.immutable ? "public, max-age=31536000, immutable" : "no-cache",
  });
  response.end(request.method === "HEAD" ? undefined : file.body);
}

/** @param {Map<string, File>} files @returns {http.RequestListener} */
function handler(files) {
  return (request, response) => {
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
    // Keep-alive clients come back on a new connection, which reaches another replica.
    if (draining) response.setHeader("Connection", "close");
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    const probe = path === "/health" || path === "/ready" || path === "/startup";
    response.on("finish", () => log(probe ? "debug" : "info", `${request.method} ${path} ${response.statusCode}`));
    if (path === "/ready" && draining) return sendJson(response, 503, { status: "unavailable", reason: "shutting down" });
    if (probe) return sendJson(response, 200, { status: "ok" });
    if (path.startsWith("/api/")) return void passOn(request, response);
    if (path === "/session" || path.startsWith("/session/")) return void session(request, response, path);
    sendFile(request, response, path, files);
  };
}

/** @param {http.RequestListener} listener @returns {http.RequestListener} */
function guardedBySettings(listener) {
  try {
    return guarded(listener, process.env["TRUSTED_PROXIES"]);
  } catch {
    console.error("todo-frontend-chatbot: TRUSTED_PROXIES must hold networks such as 10.244.0.0/16");
    return process.exit(2);
  }
}

const server = http.createServer(guardedBySettings(handler(await readFiles())));
server.listen(settings.port, settings.host, () => log("info", `listening on port ${settings.port}`));

process.on("SIGTERM", () => {
  if (draining) return;
  draining = true; // from here on /ready answers 503
  setTimeout(() => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
    setTimeout(() => process.exit(0), GRACE_SECONDS * 1000).unref();
  }, settings.drainSeconds * 1000);
});
process.on("SIGINT", () => process.exit(130));
