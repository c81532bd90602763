import type { BitnetError } from '../../../errors.ts';
import { PortableEngine, type Post } from './engine.ts';
import type { Executor } from './executor.ts';
import { failedMessage } from './protocol.ts';
import type { FromServer, ToServer } from './thread.ts';

/** A model on its way into memory. */
export interface Loading {
  /** Where the weights go. */
  readonly weights: Uint8Array;
  /** Called when they are all there. */
  ready(): Executor & { readonly device?: string };
}

/**
 * Runs the engine of a model in this thread: what `load` gives is filled with the weights that come, and then computes. Returns
 * what takes the messages.
 */
export function serve(
  load: () => Loading,
  chunk: number,
  post: (message: FromServer, transfer: readonly ArrayBuffer[]) => void,
  breathe: () => Promise<void>,
): (message: ToServer) => void {
  let engine: PortableEngine | undefined;
  let stored = 0;
  const guarded = <T>(what: () => T): T | undefined => {
    try {
      return what();
    } catch (error) {
      post(failedMessage(error as BitnetError), []);
      return undefined;
    }
  };
  const loading = guarded(load);
  if (!loading) return () => {};
  return (message) => {
    switch (message.type) {
      case 'weights':
        loading.weights.set(message.bytes, stored);
        stored += message.bytes.length;
        post({ type: 'stored', bytes: stored }, []);
        break;
      case 'loaded':
        guarded(() => {
          const executor = loading.ready();
          engine = new PortableEngine(executor, chunk, post as Post, breathe);
          post({ type: 'ready', facts: engine.facts(executor.device) }, []);
        });
        break;
      default:
        engine?.receive(message);
    }
  };
}
