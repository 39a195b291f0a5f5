/**
 * What stands in front of both frontends' servers (a copy in each, since each has its own build context): too large
 * bodies and malformed Origin headers are refused, and the backend learns the client's address.
 */
import { BlockList, isIP } from "node:net";

/** Bytes; the backend's limit is the same. */
export const BODY_LIMIT = 1024 * 1024;
/**
 * A client that still sends when the connection closes would lose the answer (RFC 9112, 9.6): so much more is read and
 * thrown away, then it has to wait, and has until the end of this time to read the answer.
 */
const LINGER_BYTES = 4 * BODY_LIMIT;
const LINGER_MS = 2_000;
const ORIGIN = /^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@\\,]+$/i;

/**
 * @typedef {import("node:http").IncomingMessage} Request
 * @typedef {import("node:http").ServerResponse<import("node:http").IncomingMessage>} Response
 */

/**
 * A listener that passes on what may be passed on. Of a body whose length is announced nothing is read before it is
 * refused (413); one that comes in chunks is counted while it is read, and never kept.
 * @param {(request: Request, response: Response) => void} listener
 * @param {string} [trustedProxies] networks whose X-Forwarded-For is believed, comma separated
 * @returns {(request: Request, response: Response) => void}
 */
export function guarded(listener, trustedProxies = "") {
  const trusted = networks(trustedProxies);
  return (request, response) => {
    const { origin } = request.headers;
    if (origin !== undefined && !isOrigin(origin)) return refuse(request, response, 400, "the Origin header is malformed");
    if (Number(request.headers["content-length"] ?? 0) > BODY_LIMIT) return refuseBody(request, response);
    request.headers["x-forwarded-for"] = clientAddress(request, trusted);
    if (request.headers["transfer-encoding"] !== undefined) countBody(request, response);
    listener(request, response);
  };
}

/** Whether the text is what the Origin header may hold: null, or a scheme, a host and perhaps a port. @param {string} text */
export function isOrigin(text) {
  if (text === "null") return true;
  try {
    return ORIGIN.test(text) && new URL(text).host !== "";
  } catch {
    return false;
  }
}

/** @param {string} text */
function networks(text) {
  const list = new BlockList();
  for (const network of text.split(",").map((part) => part.trim()).filter(Boolean)) {
    const [address = "", prefix] = network.split("/");
    const family = isIP(address) === 6 ? "ipv6" : "ipv4";
    list.addSubnet(address, Number(prefix ?? (family === "ipv6" ? 128 : 32)), family);
  }
  return list;
}

/**
 * The peer, or what the last of the trusted proxies before us calls its peer. Anything else in the header was written
 * by the client.
 * @param {Request} request @param {BlockList} trusted
 */
function clientAddress(request, trusted) {
  const peer = (request.socket.remoteAddress ?? "").replace(/^::ffff:/, "");
  if (!isIP(peer) || !trusted.check(peer, isIP(peer) === 6 ? "ipv6" : "ipv4")) return peer;
  const reported = String(request.headers["x-forwarded-for"] ?? "").split(",").at(-1)?.trim() ?? "";
  return isIP(reported) ? reported : peer;
}

/** @param {Request} request @param {Response} response */
function countBody(request, response) {
  const push = request.push;
  let size = 0;
  request.push = (chunk, encoding) => {
    size += chunk?.length ?? 0;
    if (size <= BODY_LIMIT) return push.call(request, chunk, encoding);
    refuseBody(request, response);
    return true;
  };
  // Of a body that the listener does not read, nothing is read after the answer either.
  response.shouldKeepAlive = false;
}

/** @param {Request} request @param {Response} response */
function refuseBody(request, response) {
  refuse(request, response, 413, `the body is larger than ${BODY_LIMIT} bytes`);
}

/**
 * The client has the whole answer, and the connection is closed once its body ends or its time to read the answer does.
 * The listener, if it has the request already, reads and writes nothing more.
 * @param {Request} request @param {Response} response @param {number} status @param {string} detail
 */
function refuse(request, response, status, detail) {
  if (response.headersSent) return void request.destroy();
  const text = JSON.stringify({ detail });
  for (const name of response.getHeaderNames()) if (name.startsWith("content-")) response.removeHeader(name);
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(text),
    Connection: "close",
  });
  response.write(text);
  const last = response.end;
  const end = () => void Reflect.apply(last, response, []);
  const timer = setTimeout(end, LINGER_MS);
  response.on("close", () => clearTimeout(timer));
  let discarded = 0;
  request.push = (chunk) => {
    discarded += chunk?.length ?? 0;
    if (chunk === null) end();
    return discarded <= LINGER_BYTES; // false: nothing more is read
  };
  const nothing = () => response;
  Object.assign(response, { setHeader: nothing, appendHeader: nothing, removeHeader: nothing, writeHead: nothing,
    write: () => true, end: nothing });
}
