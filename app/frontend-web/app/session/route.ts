import { currentUser } from "@/lib/session";

export const dynamic = "force-dynamic";

/** Who is logged in: {user: {id, email}}, or 401. */
export async function GET(): Promise<Response> {
  const user = await currentUser();
  return user ? Response.json({ user }) : Response.json({ detail: "not logged in" }, { status: 401 });
}
