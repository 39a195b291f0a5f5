type Child = Node | string | null;
type Properties<E> = Partial<{ [K in keyof E]: E[K] }>;

/** An element with properties and children. Strings become text, never markup. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Properties<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child): child is Node | string => child !== null));
  return node;
}
