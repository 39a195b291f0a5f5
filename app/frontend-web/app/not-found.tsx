/** Next's own page has inline styles, which the content security policy refuses. */
export default function NotFound() {
  return (
    <main className="card narrow">
      <h1>There is no such page</h1>
    </main>
  );
}
