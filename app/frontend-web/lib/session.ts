import { jwtVerify } from "jose";
import { cookies } from "next/headers";

import { authSecret, publicOrigin } from "./settings";

/** Both frontends use this name: on one host, ports share cookies, so one login serves both. */
export const SESSION_COOKIE = "todo_session";

export interface User {
  id: string;
  email: string;
}

/** The user a genuine, unexpired token of the backend names; null for any other token. */
export async function verify(token: string | undefined): Promise<User | null> {
  const secret = authSecret();
  if (!token || !secret) return null;
  try {
    const { payload } = await jwtVerify(token, secret, { algorithms: ["HS256"], issuer: "todo-backend" });
    return payload.sub ? { id: payload.sub, email: String(payload.email ?? "") } : null;
  } catch {
    return null;
  }
}

/** The user of the request being served, or null. */
export async function currentUser(): Promise<User | null> {
  return verify((await cookies()).get(SESSION_COOKIE)?.value);
}

/** A Set-Cookie value that begins (or, with an empty token, ends) a session. */
export function sessionCookie(request: Request, token: string, maxAge: number): string {
  const secure = publicOrigin()?.startsWith("https:") || request.headers.get("x-forwarded-proto") === "https";
  return `${SESSION_COOKIE}=${token}; Path=/; HttpOnly; SameSite=Lax; Max-Age=${maxAge}${secure ? "; Secure" : ""}`;
}
