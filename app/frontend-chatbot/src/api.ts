/** The browser's side of the API. Everything is on our own origin; the session is a cookie no script can read. */

export interface Task {
  id: string;
  title: string;
  description: string | null;
  completed: boolean;
}

export interface User {
  id: string;
  email: string;
}

export interface ChatReply {
  reply: string;
  tasks: Task[];
  engine: "grammar" | "openai" | "cohere";
}

/** The server refused, or could not be asked; the message is fit for people. */
export class ApiError extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch {
    throw new ApiError("The server cannot be reached. Try again in a moment.", 0);
  }
  const data = (await answer.json().catch(() => ({}))) as { detail?: unknown };
  if (answer.ok) return data as T;
  throw new ApiError(typeof data.detail === "string" ? data.detail : `Error ${answer.status}`, answer.status);
}

export const session = () => call<{ user: User }>("GET", "/session");
export const enter = (how: "login" | "register", email: string, password: string) =>
  call<{ user: User }>("POST", `/session/${how}`, { email, password });
export const leave = () => call<unknown>("POST", "/session/logout");
export const tasks = () => call<Task[]>("GET", "/api/tasks");
export const chat = (message: string) => call<ChatReply>("POST", "/api/chat", { message });
