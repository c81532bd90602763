/** What a browser says of an error, to go on after it: Firefox ends such messages with a full stop. */
export const saidOf = (cause: unknown): string => (cause as Error).message.replace(/\.$/, '');
