/**
 * The server's settings, read when they are needed.
 *
 * Next replaces `process.env.NEXT_PUBLIC_X` by its value at build time. `read` takes the name as an
 * argument, which the compiler cannot see through, so the value is the running container's.
 */
function read(name: string): string {
  return (process.env[name] ?? "").trim();
}

/** Where /api requests go, without a slash at the end. */
export function apiUrl(): string {
  return (read("NEXT_PUBLIC_API_URL") || "http://localhost:8000").replace(/\/+$/, "");
}

/** The secret that the backend signs tokens with; null when it is not set. */
export function authSecret(): Uint8Array | null {
  const secret = read("BETTER_AUTH_SECRET");
  return secret ? new TextEncoder().encode(secret) : null;
}

/** The public origin (BETTER_AUTH_URL), or null when it is not set or no URL. */
export function publicOrigin(): string | null {
  try {
    return new URL(read("BETTER_AUTH_URL")).origin;
  } catch {
    return null;
  }
}

export function isProduction(): boolean {
  return read("ENVIRONMENT").toLowerCase() === "production";
}

export function logLevel(): string {
  return read("LOG_LEVEL").toLowerCase() || "info";
}
