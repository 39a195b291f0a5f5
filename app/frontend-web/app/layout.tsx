import "./globals.css";

import type { Metadata } from "next";
import type { ReactNode } from "react";

// Every page has the nonce of its request, so none can be made at build time.
export const dynamic = "force-dynamic";
export const metadata: Metadata = { title: "Todo", description: "Your tasks" };

export default function RootLayout({ children }: { children: ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
