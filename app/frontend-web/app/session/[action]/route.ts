import { ask, badGateway } from "@/lib/backend";
import { isOurOrigin } from "@/lib/origin";
import { sessionCookie, verify } from "@/lib/session";

export const dynamic = "force-dynamic";

interface Context {
  params: Promise<{ action: string }>;
}

/**
 * POST /session/login, /session/register: asks the backend and keeps its token in an httpOnly cookie, so that no
 * script ever sees it. POST /session/logout: forgets it.
 *
 * These are not under /api, which an ingress may send straight to the backend.
 */
export async function POST(request: Request, { params }: Context): Promise<Response> {
  const { action } = await params;
  if (!isOurOrigin(request)) return Response.json({ detail: "this origin may not act for the user" }, { status: 403 });
  if (action === "logout") {
    return Response.json({ user: null }, { headers: { "Set-Cookie": sessionCookie(request, "", 0) } });
  }
  if (action !== "login" && action !== "register") return Response.json({ detail: "not found" }, { status: 404 });
  try {
    const headers = new Headers({ "content-type": "application/json", accept: "application/json" });
    headers.set("x-forwarded-for", request.headers.get("x-forwarded-for") ?? "");
    const body = await request.text();
    headers.set("content-length", String(Buffer.byteLength(body)));
    const answer = await ask("POST", `/api/auth/${action}`, headers, body);
    if (!answer.ok) return answer;
    const { access_token: token, expires_in: maxAge } = (await answer.json()) as { access_token: string; expires_in: number };
    const user = await verify(token);
    if (user === null) {
      // A session that no page would accept is worse than an error.
      const detail = "BETTER_AUTH_SECRET differs between frontend and backend, or is missing here";
      return Response.json({ detail }, { status: 502 });
    }
    return Response.json(
      { user },
      { status: answer.status, headers: { "Set-Cookie": sessionCookie(request, token, maxAge) } },
    );
  } catch (error) {
    return badGateway(error);
  }
}
