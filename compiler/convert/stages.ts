import type { ConvertOptions, ConvertProgress } from './options.ts';

/** To be called with the bytes that were done since: tells how far the stage is, and throws what aborts it. */
export type Tick = (bytes: number) => void;

/** Begins a stage of a conversion, of `total` bytes. */
export function beginStage(
  stage: ConvertProgress['stage'],
  message: string,
  total: number,
  { onProgress, signal }: Pick<ConvertOptions, 'onProgress' | 'signal'>,
): Tick {
  let done = 0;
  return (bytes) => {
    signal?.throwIfAborted();
    done += bytes;
    onProgress?.({ stage, message, fraction: total > 0 ? done / total : 1 });
  };
}
