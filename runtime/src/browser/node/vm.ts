/** A page has no other context to run a chat template in, and nothing that ends one which never ends: it is the page's own. */
export const runInNewContext = (_code: string, { render }: { readonly render: () => string }): string => render();
