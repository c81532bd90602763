import type { LoadProgress } from '../index.ts';
import type { Io } from './io.ts';

const FRAMES = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏';
const REDRAW_MS = 100;
/** On anything but a terminal, what is over sooner is not worth a line. */
const PATIENCE_MS = 500;
const CLEAR_LINE = '\r\x1b[2K';

/**
 * Tells people what a long work is at, on stderr: on a terminal one line that changes, anywhere else a line for each
 * stage that takes a while and for each tenth of it. Call `end` before anything else is printed.
 */
export class Progress {
  readonly #stderr: Io['stderr'];
  readonly #quiet: boolean;
  #timer: NodeJS.Timeout | undefined;
  #message = '';
  #fraction: number | undefined;
  #since = 0;
  #drawn = 0;
  #frame = 0;
  #tenths = -1;

  constructor({ stderr }: Io, quiet = false) {
    this.#stderr = stderr;
    this.#quiet = quiet;
  }

  /** @param fraction of the stage that is done, from 0 to 1, where it is known */
  update(message: string, fraction?: number): void {
    if (this.#quiet) return;
    const now = Date.now();
    if (message !== this.#message) {
      this.#message = message;
      this.#since = now;
      this.#tenths = -1;
    }
    this.#fraction = fraction;
    this.#timer ??= setInterval(() => this.#draw(), REDRAW_MS).unref();
    if (now - this.#drawn >= REDRAW_MS) this.#draw();
  }

  /** For `onProgress` of `load` and `compile`. */
  readonly onProgress = (progress: LoadProgress): void => {
    if ('message' in progress) {
      if (progress.stage !== 'done') this.update(progress.message, progress.fraction);
    } else if (progress.stage === 'upload') this.update('copying weights to the GPU', progress.fraction);
    else if (progress.stage === 'self-test') this.update('testing the kernels');
  };

  end(): void {
    clearInterval(this.#timer);
    if (this.#timer && this.#stderr.isTTY) this.#stderr.write(CLEAR_LINE);
    this.#timer = undefined;
    this.#message = '';
  }

  #draw(): void {
    this.#drawn = Date.now();
    if (this.#stderr.isTTY) this.#drawLine();
    else this.#print();
  }

  #drawLine(): void {
    const percent = this.#fraction ? ` ${Math.floor(this.#fraction * 100)}%` : '';
    const line = `${FRAMES[this.#frame++ % FRAMES.length]} ${this.#message}${percent}`;
    this.#stderr.write(CLEAR_LINE + line.slice(0, (this.#stderr.columns || 80) - 1));
  }

  #print(): void {
    const tenths = Math.floor((this.#fraction ?? 0) * 10);
    if (tenths <= this.#tenths || this.#drawn - this.#since < PATIENCE_MS) return;
    this.#tenths = tenths;
    this.#stderr.write(`${this.#message}${tenths > 0 ? ` ${tenths * 10}%` : ''}\n`);
  }
}
