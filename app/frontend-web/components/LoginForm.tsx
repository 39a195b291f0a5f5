"use client";

import { type FormEvent, useState } from "react";

import { logIn, pageAddress, register } from "@/lib/client";

/** One form, two modes; on success the browser is at the task list. */
export function LoginForm() {
  const [mode, setMode] = useState<"login" | "register">("login");
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);
  const registering = mode === "register";

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setProblem("");
    try {
      await (registering ? register : logIn)(String(form.get("email")), String(form.get("password")));
      window.location.assign(pageAddress("/"));
    } catch (error) {
      setProblem((error as Error).message);
      setBusy(false);
    }
  }

  return (
    <main className="card narrow">
      <h1>{registering ? "Create an account for Todo" : "Log in to Todo"}</h1>
      <form onSubmit={submit}>
        <label>
          E-mail
          <input name="email" type="email" autoComplete="email" required maxLength={254} autoFocus />
        </label>
        <label>
          Password
          <input
            name="password"
            type="password"
            autoComplete={registering ? "new-password" : "current-password"}
            minLength={registering ? 8 : 1}
            maxLength={128}
            required
          />
        </label>
        <p role="alert" className="problem">{problem}</p>
        <button type="submit" disabled={busy}>{registering ? "Register" : "Log in"}</button>
      </form>
      <p>
        {registering ? "Already registered?" : "New here?"}{" "}
        <button type="button" className="link" onClick={() => setMode(registering ? "login" : "register")}>
          {registering ? "Log in" : "Create an account"}
        </button>
      </p>
    </main>
  );
}
