import type { Steps } from '../../../slices.ts';

/** How one tokenizer family turns text without control or added tokens into ids, and its tokens into bytes. */
export interface TextModel {
  /** Appends the ids of `text`, which opens the whole text or follows a control or added token. */
  encode(text: string, ids: number[]): Steps<void>;
  /** The bytes that the vocabulary's entry for a text token stands for. */
  bytesOf(token: string): Uint8Array;
}
