import { defineConfig } from "vite";

export default defineConfig({
  // The container's environment holds VITE_OPENAI_API_KEY and VITE_API_URL. With Vite's usual prefix they would
  // be compiled into the page; with this one nothing of the environment is.
  envPrefix: "PAGE_PUBLIC_",
  build: { target: "es2022", assetsInlineLimit: 0 },
  server: { port: 3001, proxy: { "/api": "http://localhost:3002", "/session": "http://localhost:3002" } },
});
