import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** A browser of this machine, or CHROMIUM's. */
export const findChromium = (): string | undefined => process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place));

/** What gives it WebGL without a GPU. */
export const SWIFTSHADER = '--enable-unsafe-swiftshader';

/** Starts it without a window, and without its own traffic. */
export function launchChromium(executablePath: string, ...more: readonly string[]): Promise<Browser> {
  const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'];
  const root = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({
    executablePath,
    args: [...quiet, '--disable-quic', '--disable-dev-shm-usage', ...root, ...more],
  });
}
