import { publicOrigin } from "./settings";

const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * Whether a request may use the session cookie: reading always, changing only from a page of ours.
 *
 * SameSite=Lax does not tell ports of one host apart; the Origin header, which browsers send with every
 * change, does. Clients that are no browsers send neither Origin nor Sec-Fetch-Site and have no cookie to steal.
 */
export function isOurOrigin(request: Request): boolean {
  if (SAFE.has(request.method)) return true;
  const origin = request.headers.get("origin");
  if (origin === null) return ["same-origin", "none", null].includes(request.headers.get("sec-fetch-site"));
  return origin === publicOrigin() || hostOf(origin) === request.headers.get("host");
}

function hostOf(origin: string): string | null {
  try {
    return new URL(origin).host;
  } catch {
    return null;
  }
}
