import { homedir } from 'node:os';
import { join } from 'node:path';

/**
 * Where this user's models are: BITNET_MODELS, or `bitnet-toolchain/models` in the place that the system has for the data
 * of applications (XDG_DATA_HOME or ~/.local/share; ~/Library/Application Support; %LOCALAPPDATA%).
 */
export function modelsFolder(
  environment: NodeJS.ProcessEnv = process.env,
  platform: NodeJS.Platform = process.platform,
  home: string = homedir(),
): string {
  const { BITNET_MODELS, XDG_DATA_HOME, LOCALAPPDATA } = environment;
  if (BITNET_MODELS) return BITNET_MODELS;
  let data = XDG_DATA_HOME || join(home, '.local', 'share');
  if (platform === 'win32') data = LOCALAPPDATA || join(home, 'AppData', 'Local');
  if (platform === 'darwin') data = join(home, 'Library', 'Application Support');
  return join(data, 'bitnet-toolchain', 'models');
}
