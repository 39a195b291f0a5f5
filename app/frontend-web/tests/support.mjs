import { spawn } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import { fileURLToPath } from "node:url";

const SERVER = fileURLToPath(new URL("../.next/standalone/start.mjs", import.meta.url));

/** A backend that keeps the requests it gets, answers from `routes`, and echoes what it has no route for. */
export async function fakeBackend(routes = {}) {
  const requests = [];
  const server = http.createServer(async (request, response) => {
    let body = "";
    try {
      for await (const chunk of request) body += chunk;
    } catch {
      return; // the request was given up
    }
    requests.push({ method: request.method, url: request.url, headers: request.headers, body });
    const route = routes[`${request.method} ${request.url}`];
    const [status, answer, headers] = route ? route(request) : [200, { method: request.method, url: request.url, body }];
    response.writeHead(status, { "Content-Type": "application/json", ...headers });
    response.end(status === 204 ? undefined : JSON.stringify(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    requests,
    close: () => server.close(),
  };
}

/** The setting that says where the backend is, and what else the server needs to start. */
export const settingsFor = (backend) => ({ NEXT_PUBLIC_API_URL: backend, BETTER_AUTH_SECRET: "s".repeat(43) });

async function freePort() {
  const server = http.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** The real server on a free port, with the given environment and nothing else. */
export async function startServer(env = {}, base = "") {
  const port = await freePort();
  const child = spawn(process.execPath, [SERVER], { env: { PATH: process.env.PATH, PORT: String(port), ...env } });
  const state = { log: "" };
  child.stdout.on("data", (data) => (state.log += data));
  child.stderr.on("data", (data) => (state.log += data));
  const url = `http://127.0.0.1:${port}${base}`;
  for (let tries = 0; ; tries++) {
    const up = await fetch(`${url}/health`).then((answer) => answer.ok, () => false);
    if (up) break;
    if (tries > 200 || child.exitCode !== null) {
      child.kill("SIGKILL");
      throw new Error(`no server: ${state.log}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { url, port, child, state, stop: () => child.kill("SIGKILL") };
}
