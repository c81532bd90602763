/** Lets the page, or the thread, take what has happened meanwhile. A timer would wait for milliseconds after some rounds. */
export function setImmediate(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    const here = port1 as unknown as { onmessage: () => void };
    here.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}
