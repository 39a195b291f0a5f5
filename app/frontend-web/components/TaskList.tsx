"use client";

import { type FormEvent, useCallback, useEffect, useState } from "react";

import { ApiError, type Task, addTask, deleteTask, listTasks, logOut, pageAddress, setCompleted } from "@/lib/client";

const toLogin = () => window.location.assign(pageAddress("/login"));

/** The user's tasks. What is shown is what the server last confirmed. */
export function TaskList({ email }: { email: string }) {
  const [tasks, setTasks] = useState<Task[] | null>(null);
  const [problem, setProblem] = useState("");

  /** Runs `action`, then shows the server's list; a lost session leads to the login page. */
  const act = useCallback(async (action: () => Promise<unknown>): Promise<boolean> => {
    setProblem("");
    try {
      await action();
      setTasks(await listTasks());
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) {
        await logOut().catch(() => undefined);
        toLogin();
      } else setProblem((error as Error).message);
      return false;
    }
  }, []);

  useEffect(() => {
    void act(async () => undefined);
  }, [act]);

  async function add(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    if (await act(() => addTask(String(data.get("title")), String(data.get("description"))))) {
      form.reset();
      form.querySelector("input")?.focus();
    }
  }

  const open = tasks?.filter((task) => !task.completed).length ?? 0;
  return (
    <main className="card">
      <header>
        <h1>Your tasks</h1>
        <span className="who">{email}</span>
        <button type="button" className="link" onClick={() => void logOut().then(toLogin, toLogin)}>Log out</button>
      </header>
      <form onSubmit={add} className="add">
        <label>
          New task
          <input name="title" required maxLength={255} autoFocus />
        </label>
        <label>
          <span>Details <small>(optional)</small></span>
          <input name="description" maxLength={1000} />
        </label>
        <button type="submit">Add</button>
      </form>
      <p role="alert" className="problem">{problem}</p>
      <p role="status" className="count">
        {tasks === null ? (problem ? "" : "Loading…") : tasks.length === 0 ? "Nothing to do. Add your first task." : `${open} open, ${tasks.length - open} done`}
      </p>
      <ul className="tasks">
        {tasks?.map((task) => (
          <li key={task.id} className={task.completed ? "done" : ""}>
            <label>
              <input
                type="checkbox"
                checked={task.completed}
                onChange={() => void act(() => setCompleted(task.id, !task.completed))}
              />
              <span className="title">{task.title}</span>
              {task.description && <span className="description">{task.description}</span>}
            </label>
            <button type="button" className="delete" aria-label={`Delete ${task.title}`} onClick={() => void act(() => deleteTask(task.id))}>
              ✕
            </button>
          </li>
        ))}
      </ul>
    </main>
  );
}
