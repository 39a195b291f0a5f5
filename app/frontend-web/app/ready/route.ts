export const dynamic = "force-dynamic";

/** 200 until a shutdown has begun (start.mjs sets the mark). The backend's state is not ours: /api/ready tells it. */
export function GET(): Response {
  const draining = (globalThis as { todoDraining?: boolean }).todoDraining === true;
  return draining
    ? Response.json({ status: "unavailable", reason: "shutting down" }, { status: 503 })
    : Response.json({ status: "ok" });
}
