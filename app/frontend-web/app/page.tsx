import { redirect } from "next/navigation";

import { TaskList } from "@/components/TaskList";
import { currentUser } from "@/lib/session";

export const dynamic = "force-dynamic";

/** The task list, for those who are logged in. */
export default async function Home() {
  const user = await currentUser();
  if (user === null) redirect("/login");
  return <TaskList email={user.email} />;
}
