import assert from "node:assert/strict";
import { once } from "node:events";
import { after, before, test } from "node:test";

import { SignJWT } from "jose";

import { fakeBackend, settingsFor, startServer } from "./support.mjs";

const SECRET = "test-secret-of-forty-three-characters-length";
const USER = { id: "7", email: "ann@example.com" };

function token(secret = SECRET, expires = "1h", issuer = "todo-backend") {
  return new SignJWT({ email: USER.email })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(USER.id)
    .setIssuer(issuer)
    .setIssuedAt()
    .setExpirationTime(expires)
    .sign(new TextEncoder().encode(secret));
}

let backend, server, valid;

before(async () => {
  valid = await token();
  backend = await fakeBackend({
    "POST /api/auth/login": () => [200, { access_token: valid, token_type: "bearer", expires_in: 60, user: USER }],
    "POST /api/auth/register": () => [409, { detail: "this e-mail address is already registered" }],
    "DELETE /api/tasks/1": () => [204],
  });
  server = await startServer({
    NEXT_PUBLIC_API_URL: `${backend.url}/`,
    BETTER_AUTH_SECRET: SECRET,
    BETTER_AUTH_URL: "http://todo.example:30000/",
    LOG_LEVEL: "DEBUG",
  });
});
after(() => {
  server.stop();
  backend.close();
});

const call = (path, options) => fetch(server.url + path, { redirect: "manual", ...options });
const cookie = (value = valid) => ({ Cookie: `theme=dark; todo_session=${value}` });
const post = (path, headers = {}, body = "{}") =>
  call(path, { method: "POST", body, headers: { "Content-Type": "application/json", ...headers } });

test("probes", async () => {
  for (const path of ["/health", "/ready", "/startup"]) assert.deepEqual(await (await call(path)).json(), { status: "ok" });
});

test("pages are guarded by the token's signature", async () => {
  const anonymous = await call("/");
  assert.equal(anonymous.status, 307);
  assert.equal(anonymous.headers.get("location"), "/login");
  for (const bad of ["nonsense", await token("x".repeat(43)), await token(SECRET, "-1h"), await token(SECRET, "1h", "other")]) {
    assert.equal((await call("/", { headers: cookie(bad) })).status, 307);
  }
  const page = await call("/", { headers: cookie() });
  assert.equal(page.status, 200);
  assert.match(await page.text(), /ann@example\.com/);
  assert.equal((await call("/login", { headers: cookie() })).status, 307);
  const login = await (await call("/login")).text();
  assert.match(login, /<title>Log in to Todo<\/title>/);
  assert.match(login, /<h1>Log in to Todo<\/h1>/);
});

test("a page's assets are served, with security headers", async () => {
  const page = await call("/login");
  assert.equal(page.headers.get("x-frame-options"), "DENY");
  const assets = [...(await page.text()).matchAll(/(?:src|href)="(\/_next\/static\/[^"]+)"/g)].map((match) => match[1]);
  assert.ok(assets.length > 2);
  for (const asset of assets) {
    const answer = await call(asset);
    assert.equal(answer.status, 200);
    assert.ok(!(await answer.text()).includes(SECRET));
  }
});

test("a page's policy allows its own scripts and no others", async () => {
  const nonces = new Set();
  for (const path of ["/login", "/", "/nowhere"]) {
    const page = await call(path, { headers: path === "/" ? cookie() : {} });
    const policy = page.headers.get("content-security-policy");
    const [, nonce] = /script-src 'self' 'nonce-([^']{22,})'/.exec(policy);
    assert.match(policy, /default-src 'self'; .*base-uri 'none'; .*frame-ancestors 'none'; object-src 'none'/);
    assert.doesNotMatch(policy, /unsafe/);
    const html = await page.text();
    for (const [tag] of html.matchAll(/<script\b[^>]*>/g)) assert.ok(tag.includes(`nonce="${nonce}"`), `${path}: ${tag}`);
    assert.doesNotMatch(html, /<style\b|\sstyle="/);
    nonces.add(nonce);
  }
  assert.equal(nonces.size, 3);
});

test("login keeps the token in an httpOnly cookie and out of the body", async () => {
  const answer = await post("/session/login", {}, JSON.stringify({ email: USER.email, password: "pw" }));
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), { user: USER });
  assert.equal(answer.headers.get("set-cookie"), `todo_session=${valid}; Path=/; HttpOnly; SameSite=Lax; Max-Age=60`);
  assert.deepEqual(JSON.parse(backend.requests.at(-1).body), { email: USER.email, password: "pw" });
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
  assert.deepEqual(await (await call("/session", { headers: cookie() })).json(), { user: USER });
  assert.match((await post("/session/logout")).headers.get("set-cookie"), /^todo_session=; .*Max-Age=0/);
});

test("/api is passed on with the token in place of the cookie", async () => {
  const answer = await post("/api/tasks/a%2Fb?x=1%262", cookie(), '{"title":"é"}');
  assert.deepEqual(await answer.json(), { method: "POST", url: "/api/tasks/a%2Fb?x=1%262", body: '{"title":"é"}' });
  const { headers } = backend.requests.at(-1);
  assert.equal(headers.authorization, `Bearer ${valid}`);
  assert.equal(headers.cookie, undefined);
  assert.equal((await call("/api/tasks/1", { method: "DELETE", headers: cookie() })).status, 204);
  await call("/api/tasks", { headers: { Authorization: "Bearer own" } });
  assert.equal(backend.requests.at(-1).headers.authorization, "Bearer own");
});

test("only our own page, or the public origin, may change something", async () => {
  const before = backend.requests.length;
  for (const headers of [{ Origin: "http://evil.example" }, { Origin: "null" }, { "Sec-Fetch-Site": "cross-site" }]) {
    assert.equal((await post("/api/tasks", { ...cookie(), ...headers })).status, 403);
    assert.equal((await post("/session/login", headers)).status, 403);
  }
  assert.equal(backend.requests.length, before);
  for (const origin of [server.url, "http://todo.example:30000"]) {
    assert.equal((await post("/api/tasks", { ...cookie(), Origin: origin })).status, 200);
  }
});

test("the same build serves another backend, secret and public origin: all are read at run time", async () => {
  const other = await fakeBackend({ "GET /api/tasks": () => [200, ["from the other"]] });
  const second = await startServer({
    NEXT_PUBLIC_API_URL: other.url,
    BETTER_AUTH_SECRET: "y".repeat(43),
    BETTER_AUTH_URL: "https://todo.example",
    LOG_LEVEL: "error",
  });
  try {
    assert.deepEqual(await (await fetch(`${second.url}/api/tasks`)).json(), ["from the other"]);
    assert.notDeepEqual(await (await call("/api/tasks")).json(), ["from the other"]);
    assert.equal((await fetch(`${second.url}/session`, { headers: cookie() })).status, 401);
    const cookies = (await fetch(`${second.url}/session/logout`, { method: "POST" })).headers.get("set-cookie");
    assert.match(cookies, /; Secure$/);
    assert.ok(!second.state.log.includes("DEBUG"));
  } finally {
    second.stop();
    other.close();
  }
});

test("a backend that is away is a clear 502, one with another secret is named", async () => {
  const away = await startServer({ NEXT_PUBLIC_API_URL: "http://127.0.0.1:9", BETTER_AUTH_SECRET: SECRET });
  const differs = await startServer({ NEXT_PUBLIC_API_URL: backend.url, BETTER_AUTH_SECRET: "z".repeat(43) });
  try {
    for (const path of ["/api/tasks", "/session/login"]) {
      const answer = await fetch(away.url + path, { method: "POST", body: "{}" });
      assert.equal(answer.status, 502);
      assert.equal((await answer.json()).detail, "the backend cannot be reached (ECONNREFUSED)");
    }
    assert.equal((await fetch(`${away.url}/ready`)).status, 200);
    const refused = await fetch(`${differs.url}/session/login`, { method: "POST", body: "{}" });
    assert.match((await refused.json()).detail, /BETTER_AUTH_SECRET differs/);
  } finally {
    away.stop();
    differs.stop();
  }
});

test("SIGTERM: not ready first, then closed, exit 0", async () => {
  const own = await startServer({ BETTER_AUTH_SECRET: SECRET, DRAIN_SECONDS: "0.5" });
  own.child.kill("SIGTERM");
  let ready;
  do ready = await fetch(`${own.url}/ready`);
  while (ready.status === 200);
  assert.equal(ready.status, 503);
  assert.equal(ready.headers.get("connection"), "close");
  const [code] = await once(own.child, "exit");
  assert.equal(code, 0);
});

test("the log has the backend's answers but no secrets", { timeout: 10_000 }, async () => {
  await call("/api/seen", { headers: cookie() });
  while (!/DEBUG backend GET \/api\/seen: 200/.test(server.state.log)) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.ok(!server.state.log.includes("ABORT"));
  assert.ok(!server.state.log.includes(valid) && !server.state.log.includes(SECRET));
});

test("ENVIRONMENT=production keeps the network's error codes from browsers", async () => {
  const away = await startServer({ NEXT_PUBLIC_API_URL: "http://127.0.0.1:9", BETTER_AUTH_SECRET: SECRET, ENVIRONMENT: "production" });
  try {
    const answer = await fetch(`${away.url}/api/tasks`);
    assert.deepEqual([answer.status, await answer.json()], [502, { detail: "the backend cannot be reached" }]);
  } finally {
    away.stop();
  }
});

test("a base path that was not built for is refused, the built one is not", async () => {
  await assert.rejects(
    startServer({ BETTER_AUTH_SECRET: SECRET, NEXT_PUBLIC_BASE_PATH: "/todo" }),
    /NEXT_PUBLIC_BASE_PATH is "\/todo", and this was built for ""/,
  );
  const same = await startServer({ BETTER_AUTH_SECRET: SECRET, NEXT_PUBLIC_BASE_PATH: "/" });
  same.stop();
});
