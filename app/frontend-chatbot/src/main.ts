import { ApiError, type Task, type User, chat, enter, leave, session, tasks } from "./api";
import { element } from "./dom";

const app = document.querySelector<HTMLDivElement>("#app")!;

function show(title: string, ...nodes: Node[]): void {
  document.title = title;
  app.replaceChildren(...nodes);
  app.querySelector<HTMLInputElement>("[autofocus]")?.focus();
}

/** The form to log in or to register; the chat follows on success. */
function showEntrance(how: "login" | "register" = "login", notice = ""): void {
  const registering = how === "register";
  const problem = element("p", { className: "problem", role: "alert", textContent: notice });
  const email = element("input", { type: "email", autocomplete: "email", required: true, maxLength: 254, autofocus: true });
  const password = element("input", {
    type: "password",
    autocomplete: registering ? "new-password" : "current-password",
    minLength: registering ? 8 : 1,
    maxLength: 128,
    required: true,
  });
  const submit = element("button", { type: "submit" }, registering ? "Register" : "Log in");
  const form = element("form", {}, element("label", {}, "E-mail", email), element("label", {}, "Password", password), problem, submit);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    submit.disabled = true;
    problem.textContent = "";
    try {
      showChat((await enter(how, email.value, password.value)).user);
    } catch (error) {
      problem.textContent = (error as Error).message;
      submit.disabled = false;
    }
  });
  const other = element("button", { type: "button", className: "link" }, registering ? "Log in" : "Create an account");
  other.addEventListener("click", () => showEntrance(registering ? "login" : "register"));
  const title = registering ? "Create an account for Todo Chatbot" : "Log in to Todo Chatbot";
  show(
    title,
    element(
      "main",
      { className: "card narrow" },
      element("h1", {}, title),
      form,
      element("p", {}, registering ? "Already registered? " : "New here? ", other),
    ),
  );
}

/** The conversation beside the task list. */
function showChat(user: User): void {
  const log = element("div", { className: "log", role: "log" });
  const list = element("ul", { className: "tasks" });
  const input = element("input", { autofocus: true, maxLength: 2000, required: true, autocomplete: "off" });
  input.setAttribute("aria-label", "Message");
  input.placeholder = "add buy milk";
  const send = element("button", { type: "submit" }, "Send");
  const form = element("form", { className: "say" }, input, send);
  const out = element("button", { type: "button", className: "link" }, "Log out");

  const say = (who: "you" | "bot" | "problem", text: string, engine = "") => {
    log.append(element("p", { className: who, title: engine && `answered by: ${engine}` }, text));
    log.scrollTop = log.scrollHeight;
  };
  const showTasks = (all: Task[]) => list.replaceChildren(...all.map(taskItem));
  const failed = (error: unknown) => {
    if (error instanceof ApiError && error.status === 401) return showEntrance("login", "Your session is over. Log in again.");
    say("problem", (error as Error).message);
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const message = input.value.trim();
    if (!message) return;
    say("you", message);
    input.value = "";
    send.disabled = true;
    try {
      const answer = await chat(message);
      say("bot", answer.reply, answer.engine);
      showTasks(answer.tasks);
    } catch (error) {
      failed(error);
    }
    send.disabled = false;
    input.focus();
  });
  out.addEventListener("click", () => void leave().then(() => showEntrance(), failed));

  show(
    "Todo Chatbot",
    element(
      "main",
      { className: "card" },
      element("header", {}, element("h1", {}, "Todo Chatbot"), element("span", { className: "who" }, user.email), out),
      element(
        "div",
        { className: "columns" },
        element("section", {}, log, form),
        element("section", {}, element("h2", {}, "Tasks"), list),
      ),
    ),
  );
  say("bot", "Hello! Tell me what to do, for example “add buy milk”, “show my tasks” or “complete buy milk”.");
  tasks().then(showTasks, failed);
}

function taskItem(task: Task): HTMLLIElement {
  return element(
    "li",
    { className: task.completed ? "done" : "" },
    element("span", { className: "title" }, task.title),
    task.completed ? element("span", { className: "visually-hidden" }, " (done)") : null,
    task.description === null ? null : element("small", {}, task.description),
  );
}

session().then(
  ({ user }) => showChat(user),
  (error: unknown) => showEntrance("login", error instanceof ApiError && error.status === 401 ? "" : (error as Error).message),
);
