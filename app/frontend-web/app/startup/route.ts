export const dynamic = "force-dynamic";

/** 200 once the server has started; it listens only then. */
export function GET(): Response {
  return Response.json({ status: "ok" });
}
