import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { after, before, test } from "node:test";

import { fakeBackend, settingsFor, startServer } from "./support.mjs";

const MEGABYTE = 1024 * 1024;
const PATHS = ["/api/tasks", "/session/login", "/", "/nowhere"];

let backend, server;

before(async () => {
  backend = await fakeBackend();
  server = await startServer(settingsFor(backend.url));
});
after(() => {
  server.stop();
  backend.close();
});

/**
 * The first line and the headers of the answer to a request that is sent as it is, and the bytes of its body that were
 * taken; nothing of the answer is read for so many milliseconds.
 */
async function send(head, body = [], late = 0) {
  const socket = net.connect(server.port, "127.0.0.1");
  let received = "";
  socket.on("error", () => {}); // bytes of the body were still on their way
  const closed = new Promise((resolve) => socket.on("close", () => resolve(true)));
  const answered = new Promise((resolve) => {
    const read = (data) => {
      received += data;
      if (received.includes("\r\n\r\n")) resolve();
    };
    setTimeout(() => socket.on("data", read), late);
  });
  await once(socket, "connect");
  socket.write(`${head}\r\nHost: ${server.url.slice(7)}\r\n\r\n`);
  let sent = 0;
  for (const piece of body) {
    if (socket.destroyed) break;
    if (!socket.write(piece)) await Promise.race([new Promise((resolve) => socket.once("drain", resolve)), closed]);
    sent += piece.length;
  }
  await Promise.race([answered, closed]);
  const ended = await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 10_000, false))]);
  socket.destroy();
  return { status: Number(received.split(" ")[1]), received, sent, ended };
}

function* chunks(megabytes) {
  const piece = `10000\r\n${"x".repeat(65_536)}\r\n`;
  for (let count = 0; count < 16 * megabytes; count++) yield piece;
  yield "0\r\n\r\n";
}

const residentMegabytes = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.child.pid}/status`, "utf8"))[1]) / 1024;
const echo = (body, headers = {}) =>
  fetch(`${server.url}/api/echo`, { method: "POST", body, duplex: "half", headers: { "Content-Type": "text/plain", ...headers } });

test("an announced body is refused before any of it is sent, and the connection is closed", async () => {
  const before = backend.requests.length;
  const answers = await Promise.all(
    PATHS.map((path) => send(`POST ${path} HTTP/1.1\r\nContent-Length: ${200 * MEGABYTE}`)),
  );
  for (const [index, { status, ended, received }] of answers.entries()) {
    const path = PATHS[index];
    assert.deepEqual([path, status, ended], [path, 413, true]);
    assert.match(received, /\{"detail":"the body is larger than 1048576 bytes"\}$/);
  }
  assert.equal(backend.requests.length, before);
});

test("a body in chunks is refused at the limit, and is kept nowhere", async () => {
  const before = residentMegabytes();
  for (const path of ["/api/tasks", "/session/login"]) {
    const answers = await Promise.all(
      [1, 2, 3, 4].map(() => send(`POST ${path} HTTP/1.1\r\nTransfer-Encoding: chunked`, chunks(200))),
    );
    for (const { status, ended, sent } of answers) {
      assert.deepEqual([path, status, ended], [path, 413, true]);
      assert.ok(sent < 30 * MEGABYTE, `${sent} bytes were taken`);
    }
  }
  assert.ok(residentMegabytes() - before < 100, `${before} MB became ${residentMegabytes()} MB`);
  assert.ok(backend.requests.every((request) => request.body.length <= MEGABYTE));
});

test("a client that reads late has the answer, though it never ends its body", async () => {
  const { status } = await send("POST /api/tasks HTTP/1.1\r\nTransfer-Encoding: chunked", chunks(40), 100);
  assert.equal(status, 413);
});

test("a body that nobody reads is not read after the answer", async () => {
  const { ended, sent } = await send("GET /health HTTP/1.1\r\nTransfer-Encoding: chunked", chunks(200));
  assert.ok(ended && sent < 30 * MEGABYTE);
});

test("bodies up to the limit are passed on, with a length and in chunks", async () => {
  const body = "x".repeat(MEGABYTE);
  const streamed = new Blob([body.slice(1), "y"]).stream();
  for (const [given, expected] of [[body, body], [streamed, `${body.slice(1)}y`]]) {
    const answer = await echo(given);
    assert.equal(answer.status, 200);
    assert.equal((await answer.json()).body, expected);
  }
  const refused = await echo(`${body}x`);
  assert.equal(refused.status, 413);
  assert.match((await refused.json()).detail, /larger than/);
});

test("a malformed Origin is a bad request", async () => {
  const before = backend.requests.length;
  for (const origin of ["http://[", "http://a:port", "http://a:99999", "http://a/path", "a.example", "http://a b", "null, null", ""]) {
    for (const request of ["GET /", "POST /api/tasks", "POST /session/logout"]) {
      const { status } = await send(`${request} HTTP/1.1\r\nOrigin: ${origin}\r\nContent-Length: 0`);
      assert.deepEqual([origin, request, status], [origin, request, 400]);
    }
  }
  assert.equal(backend.requests.length, before);
});

test("the backend learns the client's address from us and not from the client", async () => {
  const lie = { "X-Forwarded-For": "1.1.1.1" };
  await echo("x", lie);
  assert.equal(backend.requests.at(-1).headers["x-forwarded-for"], "127.0.0.1");
  await fetch(`${server.url}/session/login`, { method: "POST", body: "{}", headers: lie });
  assert.equal(backend.requests.at(-1).headers["x-forwarded-for"], "127.0.0.1");
});

test("a proxy in TRUSTED_PROXIES may say who its client is", async () => {
  const behind = await startServer({ ...settingsFor(backend.url), TRUSTED_PROXIES: "10.0.0.0/8, 127.0.0.1" });
  try {
    for (const [header, expected] of [["1.1.1.1, 2.2.2.2", "2.2.2.2"], ["2001:db8::1", "2001:db8::1"], ["unknown", "127.0.0.1"]]) {
      await fetch(`${behind.url}/session/login`, { method: "POST", body: "{}", headers: { "X-Forwarded-For": header } });
      assert.equal(backend.requests.at(-1).headers["x-forwarded-for"], expected);
    }
  } finally {
    behind.stop();
  }
  await assert.rejects(startServer({ ...settingsFor(backend.url), TRUSTED_PROXIES: "ingress" }), /TRUSTED_PROXIES must hold networks/);
});

test("refusals are no errors of the server", async () => {
  assert.ok((await fetch(`${server.url}/health`)).ok);
  assert.doesNotMatch(server.state.log, /ERR_|TypeError|unhandled|⨯/i);
});
