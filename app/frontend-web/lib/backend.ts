import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import type { ReadableStream as NodeReadableStream } from "node:stream/web";

import { log } from "./log";
import { apiUrl, isProduction } from "./settings";

/** Longer than the backend may wait for a language model, shorter than a browser's patience. */
const TIMEOUT_MS = 60_000;
const CONNECT_TIMEOUT_MS = 5_000;

const FORWARDED = ["accept", "accept-language", "authorization", "content-type", "content-length", "user-agent",
  "x-forwarded-for",  "mcp-session-id", "mcp-protocol-version", "last-event-id"];
const RETURNED = ["content-type", "content-length", "cache-control", "retry-after", "www-authenticate", "location",
  "mcp-session-id", "allow"];

/** The backend could not be asked. */
export class Unreachable extends Error {}

/**
 * The backend's answer to `path`, body streamed both ways; Unreachable if there is none in time.
 *
 * Each request has its own connection: a kept one would stick to a replica that is going away, and
 * would keep the Service from spreading the load.
 */
export function ask(
  method: string, path: string, headers: Headers, body: ReadableStream<Uint8Array> | string | null, signal?: AbortSignal,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    const target = new URL(apiUrl() + path);
    const outgoing: Record<string, string> = {};
    for (const name of FORWARDED) {
      const value = headers.get(name);
      if (value !== null) outgoing[name] = value;
    }
    const fail = (reason: string): void => {
      log(signal?.aborted ? "debug" : "error", `backend ${method} ${path.split("?")[0]}: ${reason}`);
      reject(new Unreachable(reason));
    };
    const request = (target.protocol === "https:" ? https : http).request(
      target,
      { method, headers: outgoing, agent: false, signal },
      (answer) => {
        const kept = new Headers();
        for (const name of RETURNED) {
          const value = answer.headers[name];
          if (value !== undefined) kept.set(name, String(value));
        }
        const status = answer.statusCode ?? 502;
        const empty = method === "HEAD" || [204, 205, 304].includes(status);
        if (empty) answer.resume();
        log("debug", `backend ${method} ${path.split("?")[0]}: ${status}`);
        resolve(new Response(empty ? null : (Readable.toWeb(answer) as ReadableStream), { status, headers: kept }));
      },
    );
    const connecting = setTimeout(() => request.destroy(new Error("no connection in time")), CONNECT_TIMEOUT_MS);
    request.on("socket", (socket) => socket.once("connect", () => clearTimeout(connecting)));
    request.setTimeout(TIMEOUT_MS, () => request.destroy(new Error("no answer in time")));
    request.on("close", () => clearTimeout(connecting));
    request.on("error", (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    if (body === null || typeof body === "string") request.end(body ?? undefined);
    else Readable.fromWeb(body as NodeReadableStream).on("error", (error) => request.destroy(error)).pipe(request);
  });
}

/** What a browser is told when the backend cannot be asked; in production the reason is in the log only. */
export function badGateway(error: unknown): Response {
  const reason = error instanceof Unreachable && !isProduction() ? ` (${error.message})` : "";
  return Response.json({ detail: `the backend cannot be reached${reason}` }, { status: 502 });
}
