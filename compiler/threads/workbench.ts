import { ModelSource, type SourceIR } from '../import/source.ts';

/** What a thread works on: a model's data, and room for the codes of one matrix. One task at a time uses it. */
export class Workbench implements AsyncDisposable {
  readonly source: ModelSource;
  #codes = new Uint8Array(0);

  private constructor(source: ModelSource) {
    this.source = source;
  }

  static async open(ir: SourceIR): Promise<Workbench> {
    return new Workbench(await ModelSource.open(ir));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source[Symbol.asyncDispose]();
  }

  /** Room for so many codes, the same every time: page faults on fresh memory would cost more than the decoding. */
  codes(count: number): Uint8Array<ArrayBuffer> {
    if (this.#codes.length < count) this.#codes = new Uint8Array(count);
    return this.#codes.subarray(0, count);
  }
}
