/** Node warns of many listeners on a signal; browsers do not. */
export const setMaxListeners = (): void => {};
