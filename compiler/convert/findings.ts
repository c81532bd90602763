import { BitnetError } from '../../errors.ts';

/** Something that is wrong with a model. */
export interface Finding {
  readonly problem: string;
  /** The tensor that it is about, by its GGUF name. */
  readonly tensor?: string;
  /** Which file it is in, and at what byte. */
  readonly file?: string;
  readonly offset?: number;
  readonly hint?: string;
}

/** What is wrong with a model, as it comes to light. */
export class Findings {
  readonly list: Finding[] = [];

  add(finding: Finding): void {
    this.list.push(finding);
  }

  /** Runs `work`, and notes the BitnetError that it ends with. */
  async of<T>(work: () => T | Promise<T>, place: Omit<Finding, 'problem' | 'hint'> = {}): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof BitnetError)) throw error;
      this.error(error, place);
      return undefined;
    }
  }

  error({ message, hint }: BitnetError, place: Omit<Finding, 'problem' | 'hint'> = {}): void {
    this.add({ problem: message, ...place, ...(hint !== undefined && { hint }) });
  }
}
