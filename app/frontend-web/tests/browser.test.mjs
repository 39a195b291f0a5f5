// The pages in a real browser, over the DevTools protocol; skipped where there is no Chromium.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { SignJWT } from "jose";

import { fakeBackend, startServer } from "./support.mjs";

const WebSocket = createRequire(import.meta.url)("next/dist/compiled/ws");
const SECRET = "test-secret-of-forty-three-characters-length";
const chromium = ["chromium", "chromium-browser", "google-chrome"].find((name) => !spawnSync(name, ["--version"]).error);

async function eventually(attempt, what) {
  for (const end = Date.now() + 20_000; Date.now() < end; await new Promise((resolve) => setTimeout(resolve, 100))) {
    const result = await attempt();
    if (result) return result;
  }
  throw new Error(`not in time: ${what}`);
}

/** A page of a new browser that keeps what its console says. */
async function openBrowser() {
  const profile = mkdtempSync(join(tmpdir(), "browser-"));
  const words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"];
  // A group of its own, which ends as a whole: what is left of a browser still writes to its profile.
  const options = { stdio: ["ignore", "ignore", "pipe"], detached: true };
  const child = spawn(chromium, [...words, `--user-data-dir=${profile}`, "about:blank"], options);
  const ended = once(child, "exit");
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid, "SIGKILL");
    await ended;
    rmSync(profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 200 });
  };
  let said = "";
  child.stderr.on("data", (data) => (said += data));
  const connected = async () => {
    const address = await eventually(() => /ws:\/\/([^/]+)\//.exec(said)?.[1], "a browser");
    const page = await eventually(async () => {
      const all = await (await fetch(`http://${address}/json`)).json();
      return all.find((one) => one.type === "page");
    }, "a page");
    const socket = new WebSocket(page.webSocketDebuggerUrl);
    await once(socket, "open");
    return socket;
  };
  const socket = await connected().catch(async (error) => {
    await stop(); // a child that is left would keep the tests from their end
    throw error;
  });
  const answers = new Map();
  const problems = [];
  socket.on("message", (text) => {
    const { id, result, method, params } = JSON.parse(text);
    if (id) answers.get(id)(result);
    else if (method === "Runtime.exceptionThrown") problems.push(JSON.stringify(params));
    else if (method === "Log.entryAdded" && params.entry.source === "security") problems.push(params.entry.text);
  });
  const send = (method, params = {}) =>
    new Promise((resolve) => {
      answers.set(answers.size + 1, resolve);
      socket.send(JSON.stringify({ id: answers.size, method, params }));
    });
  for (const domain of ["Page", "Runtime", "Log"]) await send(`${domain}.enable`);
  return {
    problems,
    open: (url) => send("Page.navigate", { url }),
    run: async (expression) => (await send("Runtime.evaluate", { expression, awaitPromise: true })).result?.value,
    async close() {
      socket.terminate();
      await stop();
    },
  };
}

test("the pages work under their policy, and an injected script does not", { skip: !chromium && "no Chromium", timeout: 90_000 }, async () => {
  const token = await new SignJWT({ email: "ann@example.com" })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject("7")
    .setIssuer("todo-backend")
    .setExpirationTime("1h")
    .sign(new TextEncoder().encode(SECRET));
  const tasks = [];
  const backend = await fakeBackend({
    "POST /api/auth/login": () => [200, { access_token: token, expires_in: 60 }],
    "GET /api/tasks": () => [200, tasks],
    "POST /api/tasks": () => [201, tasks[tasks.push({ id: "1", title: "water the plants", completed: false }) - 1]],
  });
  const server = await startServer({ NEXT_PUBLIC_API_URL: backend.url, BETTER_AUTH_SECRET: SECRET });
  let browser;
  const shows = (selector, text) =>
    eventually(() => browser.run(`document.querySelector(${JSON.stringify(selector)})?.textContent.includes(${JSON.stringify(text)})`), text);
  try {
    browser = await openBrowser();
    await browser.open(`${server.url}/login`);
    await shows("h1", "Log in to Todo");
    // The button answers once the page's scripts are at work.
    await eventually(() => browser.run(`document.querySelector("button.link").click();
      new Promise((resolve) => setTimeout(resolve, 500)).then(() => document.querySelector("h1").textContent.startsWith("Create"))`), "scripts");
    await browser.run(`document.querySelector("button.link").click()`);
    await browser.run(`email = document.querySelector("[name=email]"); email.value = "ann@example.com";
      document.querySelector("[name=password]").value = "correct horse"; email.form.requestSubmit()`);
    await shows(".count", "Nothing to do");
    await browser.run(`title = document.querySelector("[name=title]"); title.value = "water the plants"; title.form.requestSubmit()`);
    await shows(".tasks", "water the plants");
    await browser.open(`${server.url}/nowhere`);
    await shows("h1", "There is no such page");
    assert.deepEqual(browser.problems, []);
    await browser.run(`script = document.createElement("script"); script.textContent = "injected = true"; document.body.append(script)`);
    assert.equal(await browser.run("typeof injected"), "undefined");
    assert.match((await eventually(() => browser.problems[0], "a report")), /Content Security Policy/);
  } finally {
    server.stop(); // before anything that may fail: it would keep the tests from their end
    backend.close();
    await browser?.close();
  }
});
