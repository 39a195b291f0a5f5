import { logLevel } from "./settings";

const LEVELS = ["debug", "info", "warning", "error", "critical"] as const;
type Level = (typeof LEVELS)[number];

/** Writes one line to stdout if LOG_LEVEL lets it through. Callers pass no header, body or token. */
export function log(level: Level, message: string): void {
  const threshold = LEVELS.indexOf(logLevel().replace(/^warn$/, "warning") as Level);
  if (LEVELS.indexOf(level) >= (threshold < 0 ? 1 : threshold)) {
    process.stdout.write(`${new Date().toISOString()} ${level.toUpperCase()} ${message}\n`);
  }
}
