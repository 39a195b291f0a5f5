import type { Metadata } from "next";
import { redirect } from "next/navigation";

import { LoginForm } from "@/components/LoginForm";
import { currentUser } from "@/lib/session";

export const dynamic = "force-dynamic";
export const metadata: Metadata = { title: "Log in to Todo" };

/** Log in or register, for those who are not logged in. */
export default async function Login() {
  if (await currentUser()) redirect("/");
  return <LoginForm />;
}
