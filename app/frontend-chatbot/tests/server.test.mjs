import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";

import { fakeBackend, settingsFor, startServer } from "./support.mjs";

const TOKEN = "header.payload.signature";
const USER = { id: "7", email: "ann@example.com" };
const KEY = "sk-canary-0123456789abcdef";
const COOKIE = { Cookie: `theme=dark; todo_session=${TOKEN}` };

let backend, server;

before(async () => {
  const token = { access_token: TOKEN, token_type: "bearer", expires_in: 60, user: USER };
  backend = await fakeBackend({
    "POST /api/auth/login": () => [200, token],
    "POST /api/auth/register": () => [409, { detail: "this e-mail address is already registered" }],
    "GET /api/auth/me": (request) =>
      request.headers.authorization === `Bearer ${TOKEN}` ? [200, USER] : [401, { detail: "log in first" }],
    "DELETE /api/tasks/1": () => [204],
  });
  server = await startServer({ VITE_API_URL: `${backend.url}/`, VITE_OPENAI_API_KEY: KEY, LOG_LEVEL: "debug" });
});
after(() => {
  server.stop();
  backend.close();
});

const call = (path, options) => fetch(server.url + path, { redirect: "manual", ...options });
const post = (path, headers = {}, body = "{}") =>
  call(path, { method: "POST", body, headers: { "Content-Type": "application/json", ...headers } });

test("the page and its assets come with types, caching and security headers", async () => {
  const page = await call("/");
  assert.equal(page.headers.get("content-type"), "text/html; charset=utf-8");
  assert.equal(page.headers.get("cache-control"), "no-cache");
  assert.match(page.headers.get("content-security-policy"), /default-src 'self'/);
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
  const html = await page.text();
  const assets = [...html.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map((match) => match[1]);
  assert.equal(assets.length, 2);
  for (const asset of assets) {
    const answer = await call(asset);
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("content-type"), /^text\/(css|javascript)/);
    assert.match(answer.headers.get("cache-control"), /immutable/);
    assert.ok(!(await answer.text()).includes(KEY));
  }
  assert.equal(await (await call("/some/page")).text(), html);
  assert.equal((await call("/assets/none.js")).status, 404);
  assert.equal((await call("/", { method: "POST" })).status, 405);
});

test("no address leads out of dist", async () => {
  for (const path of ["/../server.mjs", "/..%2fserver.mjs", "/assets/../../package.json", "//etc/passwd"]) {
    const answer = await new Promise((resolve) => {
      http.get({ port: server.port, host: "127.0.0.1", path }, async (response) => {
        let text = "";
        for await (const chunk of response) text += chunk;
        resolve(text);
      });
    });
    assert.ok(!answer.includes("createServer") && !answer.includes("devDependencies") && !answer.includes("root:"));
  }
});

test("probes", async () => {
  for (const path of ["/health", "/ready", "/startup"]) assert.deepEqual(await (await call(path)).json(), { status: "ok" });
});

test("login keeps the token in an httpOnly cookie and out of the body", async () => {
  const answer = await post("/session/login", {}, JSON.stringify({ email: USER.email, password: "pw" }));
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), { user: USER });
  assert.equal(answer.headers.get("set-cookie"), `todo_session=${TOKEN}; Path=/; HttpOnly; SameSite=Lax; Max-Age=60`);
  assert.deepEqual(JSON.parse(backend.requests.at(-1).body), { email: USER.email, password: "pw" });
  const secure = await post("/session/login", { "X-Forwarded-Proto": "https" });
  assert.match(secure.headers.get("set-cookie"), /; Secure$/);
});

test("the backend's refusal is passed on, without a cookie", async () => {
  const answer = await post("/session/register");
  assert.equal(answer.status, 409);
  assert.equal((await answer.json()).detail, "this e-mail address is already registered");
  assert.equal(answer.headers.get("set-cookie"), null);
});

test("too many attempts: the browser learns when to try again", async () => {
  const limited = await fakeBackend({ "POST /api/auth/login": () => [429, { detail: "too many attempts" }, { "Retry-After": "17" }] });
  const own = await startServer(settingsFor(limited.url));
  try {
    const answer = await fetch(`${own.url}/session/login`, { method: "POST", body: "{}" });
    assert.deepEqual([answer.status, answer.headers.get("retry-after")], [429, "17"]);
  } finally {
    own.stop();
    limited.close();
  }
});

test("who is logged in, and logging out", async () => {
  assert.equal((await call("/session")).status, 401);
  assert.deepEqual(await (await call("/session", { headers: COOKIE })).json(), { user: USER });
  assert.equal((await call("/session", { headers: { Cookie: "todo_session=wrong" } })).status, 401);
  assert.match((await post("/session/logout")).headers.get("set-cookie"), /^todo_session=; .*Max-Age=0/);
});

test("/api is passed on with the token in place of the cookie", async () => {
  const answer = await post("/api/chat?x=a%2Fb", COOKIE, '{"message":"list"}');
  assert.deepEqual(await answer.json(), { method: "POST", url: "/api/chat?x=a%2Fb", body: '{"message":"list"}' });
  const { headers } = backend.requests.at(-1);
  assert.equal(headers.authorization, `Bearer ${TOKEN}`);
  assert.equal(headers.cookie, undefined);
  assert.equal((await call("/api/tasks/1", { method: "DELETE", headers: COOKIE })).status, 204);
  await call("/api/tasks", { headers: { Authorization: "Bearer own" } });
  assert.equal(backend.requests.at(-1).headers.authorization, "Bearer own");
});

test("only our own page may change something", async () => {
  const before = backend.requests.length;
  for (const headers of [{ Origin: "http://evil.example" }, { Origin: "null" }, { "Sec-Fetch-Site": "cross-site" }]) {
    assert.equal((await post("/api/chat", { ...COOKIE, ...headers })).status, 403);
    assert.equal((await post("/session/login", headers)).status, 403);
  }
  assert.equal(backend.requests.length, before);
  assert.equal((await post("/api/chat", { ...COOKIE, Origin: server.url })).status, 200);
});

test("the target is read at run time, and a backend that is away is a clear 502", async () => {
  const away = await startServer({ VITE_API_URL: "http://127.0.0.1:9" });
  try {
    for (const path of ["/api/tasks", "/session/login"]) {
      const answer = await fetch(away.url + path, { method: "POST", body: "{}" });
      assert.equal(answer.status, 502);
      assert.match((await answer.json()).detail, /^the backend cannot be reached \(ECONNREFUSED\)$/);
    }
    assert.equal((await fetch(`${away.url}/ready`)).status, 200);
  } finally {
    away.stop();
  }
});

test("SIGTERM: not ready first, then closed, exit 0", async () => {
  const own = await startServer({ VITE_API_URL: backend.url, DRAIN_SECONDS: "0.5" });
  own.child.kill("SIGTERM");
  let ready;
  do ready = await fetch(`${own.url}/ready`);
  while (ready.status === 200);
  assert.equal(ready.status, 503);
  assert.equal(ready.headers.get("connection"), "close");
  const [code] = await once(own.child, "exit");
  assert.equal(code, 0);
});

test("the log has requests but no secrets", { timeout: 10_000 }, async () => {
  await call("/api/seen", { headers: COOKIE });
  while (!/INFO GET \/api\/seen 200/.test(server.state.log)) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(!server.state.log.includes("ABORT"));
  assert.ok(!server.state.log.includes(TOKEN) && !server.state.log.includes(KEY));
});

test("ENVIRONMENT=production keeps the network's error codes from browsers", async () => {
  const away = await startServer({ VITE_API_URL: "http://127.0.0.1:9", ENVIRONMENT: "production" });
  try {
    const answer = await fetch(`${away.url}/api/tasks`);
    assert.deepEqual([answer.status, await answer.json()], [502, { detail: "the backend cannot be reached" }]);
  } finally {
    away.stop();
  }
});
