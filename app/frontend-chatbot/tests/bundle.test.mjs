import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

test("a build with the key in its environment does not contain it", () => {
  const out = mkdtempSync(join(tmpdir(), "bundle-"));
  try {
    const canary = "canary-3f9c1e77";
    execFileSync(join(root, "node_modules/.bin/vite"), ["build", "--outDir", out, "--logLevel", "warn"], {
      cwd: root,
      env: {
        ...process.env,
        VITE_OPENAI_API_KEY: canary,
        VITE_API_URL: `http://${canary}`,
        OPENAI_API_KEY: canary,
        BETTER_AUTH_SECRET: canary,
      },
    });
    const files = readdirSync(out, { recursive: true }).map((name) => join(out, name)).filter((name) => statSync(name).isFile());
    assert.ok(files.length >= 3);
    for (const file of files) {
      const text = readFileSync(file, "utf8");
      assert.ok(!text.includes(canary) && !text.includes("OPENAI"), file);
    }
    assert.ok(files.some((file) => readFileSync(file, "utf8").includes("Log in to Todo Chatbot")));
  } finally {
    rmSync(out, { recursive: true });
  }
});
