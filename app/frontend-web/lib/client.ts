/** The browser's side of the API. Addresses are relative to our own origin, under the base path of the build. */

export interface Task {
  id: string;
  title: string;
  description: string | null;
  completed: boolean;
}

const BASE = process.env.NEXT_PUBLIC_BASE_PATH ?? "";

/** The server refused, or could not be asked; the message is fit for people. */
export class ApiError extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(BASE + path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError("The server cannot be reached. Try again in a moment.", 0);
  }
  if (answer.status === 204) return undefined as T;
  const data = (await answer.json().catch(() => ({}))) as { detail?: unknown };
  if (answer.ok) return data as T;
  throw new ApiError(typeof data.detail === "string" ? data.detail : `Error ${answer.status}`, answer.status);
}

export const logIn = (email: string, password: string) => call<void>("POST", "/session/login", { email, password });
export const register = (email: string, password: string) => call<void>("POST", "/session/register", { email, password });
export const logOut = () => call<void>("POST", "/session/logout");
export const listTasks = () => call<Task[]>("GET", "/api/tasks");
export const addTask = (title: string, description: string) => call<Task>("POST", "/api/tasks", { title, description });
export const setCompleted = (id: string, completed: boolean) => call<Task>("PATCH", `/api/tasks/${id}`, { completed });
export const deleteTask = (id: string) => call<void>("DELETE", `/api/tasks/${id}`);
export const pageAddress = (path: string) => BASE + path;
