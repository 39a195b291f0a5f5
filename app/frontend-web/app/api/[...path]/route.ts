import type { NextRequest } from "next/server";

import { ask, badGateway } from "@/lib/backend";
import { isOurOrigin } from "@/lib/origin";
import { SESSION_COOKIE } from "@/lib/session";

export const dynamic = "force-dynamic";

/** Passes /api/… on to the backend, with the session's token in place of its cookie. */
async function pass(request: NextRequest): Promise<Response> {
  const headers = new Headers(request.headers);
  const token = request.cookies.get(SESSION_COOKIE)?.value;
  if (token && !headers.has("authorization")) {
    if (!isOurOrigin(request)) return Response.json({ detail: "this origin may not act for the user" }, { status: 403 });
    headers.set("authorization", `Bearer ${token}`);
  }
  // The path as it was sent: Next's params are decoded, and "a%2Fb" is not "a/b".
  const { pathname, search } = new URL(request.url);
  const path = pathname.slice(pathname.indexOf("/api/"));
  const body = request.method === "GET" || request.method === "HEAD" ? null : request.body;
  try {
    return await ask(request.method, path + search, headers, body, request.signal);
  } catch (error) {
    return badGateway(error);
  }
}

export { pass as GET, pass as HEAD, pass as POST, pass as PUT, pass as PATCH, pass as DELETE };
