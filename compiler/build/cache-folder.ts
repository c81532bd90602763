import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where this user's caches are: BITNET_CACHE, or `bitnet-toolchain` under XDG_CACHE_HOME or ~/.cache. */
export function cacheFolder(...parts: string[]): string {
  const root =
    process.env.BITNET_CACHE || join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'bitnet-toolchain');
  return join(root, ...parts);
}
